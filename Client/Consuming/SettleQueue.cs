using System.Threading.Tasks.Sources;
using Grpc.Core;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client.Consuming;

/// <summary>
/// Sends what is to become of delivered records: at once when nothing is under way, else together with what comes
/// meanwhile, as soon as that is answered, or when it is much. Records of one delivery that follow each other are one
/// item of a request. Any thread.
/// </summary>
/// <param name="send">Sends a request, to whichever broker answers.</param>
/// <param name="options">How patient to be.</param>
/// <param name="time">The clock.</param>
internal sealed class SettleQueue(
    Func<Wire.SettleRequest, Task<Wire.SettleResponse>> send, BrokerClientOptions options, TimeProvider time)
    : IDisposable
{
    /// <summary>The most that a broker takes in one request.</summary>
    private const int MostRunsPerCall = 1_000;

    private const int MostPerCall = 4_000;

    /// <summary>While one waits for the disks, another may be on its way.</summary>
    private const int CallsAtOnce = 4;

    /// <summary>
    /// So many wait for each call that is under way before there is one more: few would cost as much as many.
    /// </summary>
    private const int WorthOneMore = 100;

    /// <summary>But none of them waits longer for the call of others, which may hang.</summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromMilliseconds(20);

    /// <summary>Who comes then waits until others are done.</summary>
    private const int MostWaiting = 16_000;

    private readonly SemaphoreSlim _room = new(MostWaiting);
    private readonly Lock _lock = new();
    private readonly Queue<Item> _waiting = new();
    private readonly Stack<Item> _spare = new();
    private ITimer? _timer;
    private bool _isTimed;
    private bool _isDisposed;
    private int _calls;
    private TaskCompletionSource? _drained;

    /// <summary>False: the record was not the consumer's any more. To be awaited once.</summary>
    /// <exception cref="BrokerClientException">Nobody could say in time that it is done, or it cannot be.</exception>
    public ValueTask<bool> SettleAsync(in RecordSettlement settlement, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return ValueTask.FromCanceled<bool>(cancellationToken);
        }

        try
        {
            return HasRoom()
                ? Begin(settlement, cancellationToken)
                : WaitForRoomAsync(settlement, cancellationToken);
        }
        catch (ObjectDisposedException disposed)
        {
            return ValueTask.FromException<bool>(disposed);
        }
    }

    /// <summary>Completes when all that was begun is answered.</summary>
    public Task DrainAsync()
    {
        lock (_lock)
        {
            _drained ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            TellIfDrained();
            return _drained.Task;
        }
    }

    /// <summary>Takes a place if there is one, without waiting for it.</summary>
    private bool HasRoom() => _room.Wait(0, CancellationToken.None);

    /// <summary>Nobody begins any more. Calls that are under way are heard of still.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _isDisposed = true;
            _timer?.Dispose();
            _room.Dispose();
        }
    }

    private async ValueTask<bool> WaitForRoomAsync(RecordSettlement settlement, CancellationToken cancellationToken)
    {
        await _room.WaitAsync(cancellationToken);
        return await Begin(settlement, cancellationToken);
    }

    private ValueTask<bool> Begin(in RecordSettlement settlement, CancellationToken cancellationToken)
    {
        ValueTask<bool> done;
        var begins = false;
        lock (_lock)
        {
            var item = _spare.TryPop(out var spare) ? spare : new Item(this);
            done = item.Begin(settlement, time.GetTimestamp());
            _waiting.Enqueue(item);
            if (_calls == 0 || (_calls < CallsAtOnce && _waiting.Count >= _calls * WorthOneMore))
            {
                _calls++;
                begins = true;
            }
            else if (_calls < CallsAtOnce && !_isTimed && !_isDisposed)
            {
                _isTimed = true;
                _timer ??= time.CreateTimer(
                    static queue => ((SettleQueue)queue!).OnTime(),
                    this,
                    Timeout.InfiniteTimeSpan,
                    Timeout.InfiniteTimeSpan);
                _timer.Change(LongestWait, Timeout.InfiniteTimeSpan);
            }
        }

        if (settlement.Kind == GroupSettlementKind.Ack)
        {
            settlement.Record?.Free();
        }

        if (begins)
        {
            _ = CallAsync();
        }

        return cancellationToken.CanBeCanceled
            ? new ValueTask<bool>(done.AsTask().WaitAsync(cancellationToken))
            : done;
    }

    private void OnTime()
    {
        lock (_lock)
        {
            // Since then others may have taken what waited, and what waits now may have come just now: it goes, too.
            _isTimed = false;
            if (_waiting.Count == 0 || _calls == CallsAtOnce)
            {
                return;
            }

            _calls++;
        }

        _ = CallAsync();
    }

    private async Task CallAsync()
    {
        // Others that are ready to run get their word into the same call.
        await Task.Yield();
        var (items, runs) = (new List<Item>(), new List<int>());
        while (TryTake(items, runs))
        {
            try
            {
                await HearAsync(items, runs, await send(Request(items, runs)));
            }
            catch (Exception failure) when (failure is BrokerClientException or ObjectDisposedException)
            {
                items.ForEach(item => item.End(failure));
                GiveRoom(items.Count);
            }
        }
    }

    /// <summary>Takes what waits, and how it falls into runs. False: nothing does, and the call is over.</summary>
    private bool TryTake(List<Item> items, List<int> runs)
    {
        items.Clear();
        runs.Clear();
        lock (_lock)
        {
            var first = default(RecordSettlement);
            while (items.Count < MostPerCall && _waiting.TryPeek(out var item))
            {
                if (runs.Count > 0 && !item.IsAlone && item.Settlement.Continues(first, runs[^1]))
                {
                    runs[^1]++;
                }
                else if (runs.Count == MostRunsPerCall)
                {
                    break;
                }
                else
                {
                    first = item.Settlement;
                    runs.Add(1);
                }

                items.Add(_waiting.Dequeue());
            }

            _calls -= items.Count == 0 ? 1 : 0;
            TellIfDrained();
            return items.Count > 0;
        }
    }

    private void TellIfDrained()
    {
        if (_calls == 0 && _waiting.Count == 0)
        {
            _drained?.TrySetResult();
        }
    }

    private static Wire.SettleRequest Request(List<Item> items, List<int> runs)
    {
        var request = new Wire.SettleRequest();
        request.Settlements.Capacity = runs.Count;
        var at = 0;
        foreach (var run in runs)
        {
            request.Settlements.Add(items[at].Settlement.ToWire(run));
            at += run;
        }

        return request;
    }

    private async Task HearAsync(List<Item> items, List<int> runs, Wire.SettleResponse response)
    {
        var (at, ended, isAgain) = (0, 0, false);
        for (var run = 0; run < runs.Count; run++)
        {
            var settled = response.Results[run];
            for (var end = at + runs[run]; at < end; at++)
            {
                var isAnswered = TryEnd(items[at], settled, isPart: settled.Lost < runs[run], out var isLater);
                ended += isAnswered ? 1 : 0;
                isAgain |= isLater;
            }
        }

        GiveRoom(ended);
        if (isAgain)
        {
            await Task.Delay(options.RetryDelayMin, time);
        }
    }

    /// <summary>False: it is asked once more. That does no harm: what is settled stays so.</summary>
    /// <param name="item">The record.</param>
    /// <param name="settled">The answer to its run.</param>
    /// <param name="isPart">The answer counts some records of the run as lost, and says not which.</param>
    /// <param name="isLater">After a pause.</param>
    private bool TryEnd(Item item, Wire.Settled settled, bool isPart, out bool isLater)
    {
        isLater = false;
        switch ((StatusCode)settled.Status)
        {
            case StatusCode.OK:
                item.End(isDone: true);
                return true;
            case StatusCode.NotFound when isPart:
                item.IsAlone = true;
                break;
            case StatusCode.NotFound:
                item.End(isDone: false);
                return true;
            case StatusCode.Unavailable or StatusCode.Aborted or StatusCode.ResourceExhausted
                when time.GetElapsedTime(item.Since) < options.OperationTimeout:
                isLater = true;
                break;
            default:
                item.End(ClientErrors.NotSettled(settled));
                return true;
        }

        lock (_lock)
        {
            _waiting.Enqueue(item);
        }

        return false;
    }

    private void GiveRoom(int items)
    {
        lock (_lock)
        {
            if (items > 0 && !_isDisposed)
            {
                _room.Release(items);
            }
        }
    }

    /// <summary>One record that is waited for. When that was heard it serves another one.</summary>
    private sealed class Item(SettleQueue queue) : IValueTaskSource<bool>
    {
        private ManualResetValueTaskSourceCore<bool> _done = new() { RunContinuationsAsynchronously = true };

        public RecordSettlement Settlement { get; private set; }

        public long Since { get; private set; }

        /// <summary>It is asked about by itself.</summary>
        public bool IsAlone { get; set; }

        public ValueTask<bool> Begin(in RecordSettlement settlement, long now)
        {
            (Settlement, Since, IsAlone) = (settlement, now, false);
            return new ValueTask<bool>(this, _done.Version);
        }

        public void End(bool isDone)
        {
            MakeRoom();
            _done.SetResult(isDone);
        }

        public void End(Exception failure)
        {
            MakeRoom();
            _done.SetException(failure);
        }

        public bool GetResult(short token)
        {
            try
            {
                return _done.GetResult(token);
            }
            finally
            {
                _done.Reset();
                Settlement = default;
                lock (queue._lock)
                {
                    queue._spare.Push(this);
                }
            }
        }

        public ValueTaskSourceStatus GetStatus(short token) => _done.GetStatus(token);

        public void OnCompleted(
            Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
            _done.OnCompleted(continuation, state, token, flags);

        /// <summary>
        /// What comes again may go before others: until the group knows of it, nothing else is to take its place.
        /// </summary>
        private void MakeRoom()
        {
            if (Settlement.Kind != GroupSettlementKind.Ack)
            {
                Settlement.Record?.Free();
            }
        }
    }
}
