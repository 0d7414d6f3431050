using System.Threading.Tasks.Sources;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client.Publishing;

/// <summary>
/// The callers' side of a batch. The token of a caller's ValueTask is the place of its record, so a message costs no
/// object of its own; only who awaits before the answer is there leaves a continuation behind.
/// </summary>
internal sealed partial class PublishBatch : IValueTaskSource<PublishAck>
{
    private readonly Lock _completionLock = new();
    private List<Waiter>? _waiters;
    private volatile bool _completed;
    private BrokerClientException? _error;
    private long _baseOffset;
    private DateTimeOffset _timestamp;
    private bool _duplicate;
    private int _partition;

    /// <summary>Keeps what the broker answered; its callers are woken by <see cref="Complete"/>.</summary>
    public void Answer(Wire.PublishResponse response)
    {
        _baseOffset = response.BaseOffset;
        _timestamp = DateTimeOffset.FromUnixTimeMilliseconds(response.TimestampUnixMs);
        _duplicate = response.Duplicate;
        _partition = (int)response.Partition;
    }

    public void Complete(BrokerClientException? error)
    {
        List<Waiter>? waiters;
        lock (_completionLock)
        {
            _error = error;
            _completed = true;
            waiters = _waiters;
            _waiters = null;
        }

        if (waiters is null)
        {
            return;
        }

        foreach (var waiter in waiters)
        {
            waiter.Run();
        }
    }

    public PublishAck GetResult(short token)
    {
        if (!_completed)
        {
            throw new InvalidOperationException(
                "The publish is not answered yet; await it instead of asking for its result.");
        }

        if (_error is { } error)
        {
            throw error.Copy();
        }

        var offset = _baseOffset < 0 ? -1 : _baseOffset + token;
        return new PublishAck(Producer.Topic, offset, _timestamp, _duplicate, _partition);
    }

    public ValueTaskSourceStatus GetStatus(short token) => (_completed, _error) switch
    {
        (false, _) => ValueTaskSourceStatus.Pending,
        (true, null) => ValueTaskSourceStatus.Succeeded,
        _ => ValueTaskSourceStatus.Faulted,
    };

    public void OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
    {
        var waiter = Waiter.Capture(continuation, state, flags);
        lock (_completionLock)
        {
            if (!_completed)
            {
                (_waiters ??= []).Add(waiter);
                return;
            }
        }

        waiter.Run();
    }

    /// <summary>
    /// A continuation and where its awaiter wants it to run. Never inline: it must not hold up the answers behind it.
    /// </summary>
    private readonly struct Waiter(
        Action<object?> continuation, object? state, ExecutionContext? execution, object? scheduler)
    {
        public static Waiter Capture(Action<object?> continuation, object? state, ValueTaskSourceOnCompletedFlags flags)
        {
            var execution = flags.HasFlag(ValueTaskSourceOnCompletedFlags.FlowExecutionContext)
                ? ExecutionContext.Capture()
                : null;
            object? scheduler = null;
            if (flags.HasFlag(ValueTaskSourceOnCompletedFlags.UseSchedulingContext))
            {
                var context = SynchronizationContext.Current;
                scheduler = context is not null && context.GetType() != typeof(SynchronizationContext)
                    ? context
                    : TaskScheduler.Current == TaskScheduler.Default ? null : TaskScheduler.Current;
            }

            return new Waiter(continuation, state, execution, scheduler);
        }

        public void Run()
        {
            var action = continuation;
            if (execution is { } flowed)
            {
                var inner = continuation;
                action = s => ExecutionContext.Run(flowed, inner.Invoke, s);
            }

            switch (scheduler)
            {
                case SynchronizationContext context:
#pragma warning disable VSTHRD001 // The awaiter asked for its context; nothing blocks here.
                    context.Post(action.Invoke, state);
#pragma warning restore VSTHRD001
                    break;
                case TaskScheduler tasks:
                    _ = Task.Factory.StartNew(
                        action, state, CancellationToken.None, TaskCreationOptions.DenyChildAttach, tasks);
                    break;
                default:
                    ThreadPool.UnsafeQueueUserWorkItem(action, state, preferLocal: false);
                    break;
            }
        }
    }
}
