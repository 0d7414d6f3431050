using System.Diagnostics.CodeAnalysis;
using Broker.Client.Tracing;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Broker.Client.Handling;

/// <summary>
/// One consumer of a group, as long as the program runs: gives each message to the handler, settles it by what came of
/// it, and keeps its lease meanwhile. When the program ends it takes nothing new, and waits for what is worked on.
/// </summary>
internal sealed class HandlerService<
    [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T>(
    IBrokerClient client,
    string group,
    BrokerHandlerOptions options,
    IMessageSerializer serializer,
    Func<HandledMessage<T>, CancellationToken, Task> handle,
    TimeProvider time,
    ILogger logger) : BackgroundService
{
    private static readonly TimeSpan RestartMin = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan RestartMax = TimeSpan.FromSeconds(10);

    /// <summary>For handlers that end their work when they are told to.</summary>
    private static readonly TimeSpan GiveBackPatience = TimeSpan.FromSeconds(2);

    private readonly CancellationTokenSource _abandoned = new();

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        if (cancellationToken.IsCancellationRequested && ExecuteTask is { IsCompleted: false } working)
        {
            // The program has waited long enough. What handlers leave now goes back to the group at once.
            await _abandoned.CancelAsync();
            await Task.WhenAny(working, Task.Delay(GiveBackPatience, time, CancellationToken.None));
        }
    }

    public override void Dispose()
    {
        _abandoned.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        for (var delay = RestartMin; ; delay = delay * 2 < RestartMax ? delay * 2 : RestartMax)
        {
            var startedAt = time.GetTimestamp();
            try
            {
                await ConsumeAsync(stoppingToken);
                return;
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (BrokerClientException failure) when (failure.Code != BrokerClientErrorCode.InvalidArgument)
            {
                // A group that is to be made by its operator, brokers that are away: it goes on when they are there.
                ClientLog.HandlerInterrupted(logger, group, failure.Message);
                delay = time.GetElapsedTime(startedAt) > RestartMax ? RestartMin : delay;
            }

            try
            {
                await Task.Delay(delay, time, stoppingToken);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private async Task ConsumeAsync(CancellationToken stoppingToken)
    {
        await using var consumer = await client.ConsumeAsync(
            group,
            new ConsumeOptions
            {
                Filters = options.Filters,
                Mode = options.Mode,

                // One behind each that is worked on, so that nobody waits for the way to the broker.
                MaxUnsettledRecords = options.Concurrency * 2,
            },
            stoppingToken);
        using var room = new SemaphoreSlim(options.Concurrency);
        try
        {
            await foreach (var record in consumer.WithCancellation(stoppingToken))
            {
                await room.WaitAsync(stoppingToken);
                _ = WorkAsync(record, consumer.AckWait, room);
            }
        }
        finally
        {
            // Only when all have left is the room theirs no more.
            for (var i = 0; i < options.Concurrency; i++)
            {
                await room.WaitAsync(CancellationToken.None);
            }
        }
    }

    /// <summary>Never throws: what fails is logged, and the message comes again.</summary>
    private async Task WorkAsync(GroupRecord record, TimeSpan ackWait, SemaphoreSlim room)
    {
        await Task.Yield();
        using var lost = CancellationTokenSource.CreateLinkedTokenSource(_abandoned.Token);
        using var done = new CancellationTokenSource();
        var keeping = KeepLeaseAsync(record, ackWait, lost, done.Token);
        try
        {
            var settle = await HandleAsync(record, lost.Token);
            await done.CancelAsync();
            await keeping;
            if (!await settle())
            {
                ClientLog.HandledLate(logger, record.Record.Topic, record.Record.Offset, group);
            }
        }
        catch (Exception failure) when (failure is BrokerClientException or ObjectDisposedException)
        {
            ClientLog.NotSettled(logger, record.Record.Topic, record.Record.Offset, group, failure.Message);
        }
        finally
        {
            await done.CancelAsync();
            await keeping;
            room.Release();
        }
    }

    /// <summary>How the message is to be settled, by what came of it.</summary>
    private async Task<Func<ValueTask<bool>>> HandleAsync(GroupRecord record, CancellationToken lost)
    {
        using var span = ClientSpans.StartProcess(record.Record, group);
        var startedAt = time.GetTimestamp();
        try
        {
            var message = new HandledMessage<T>(serializer.Deserialize<T>(record.Record.Value), record);
            await handle(message, lost);
            HandlerMetrics.Processed(group, time.GetElapsedTime(startedAt), failure: null);
            return () => record.AckAsync();
        }
        catch (FormatException unreadable)
        {
            return Dead(unreadable);
        }
        catch (MessageRejectedException rejected)
        {
            return Dead(rejected);
        }
        catch (Exception failure)
        {
            Failed(failure);
            ClientLog.HandlerFailed(
                logger, record.Record.Topic, record.Record.Offset, group, record.Attempt, failure);
            return () => record.NackAsync(options.RetryDelay);
        }

        Func<ValueTask<bool>> Dead(Exception why)
        {
            Failed(why);
            ClientLog.HandlerRejected(logger, record.Record.Topic, record.Record.Offset, group, why.Message);
            return () => record.TerminateAsync(why.Message);
        }

        void Failed(Exception failure)
        {
            span.Fail(failure.GetType().Name);
            HandlerMetrics.Processed(group, time.GetElapsedTime(startedAt), failure);
        }
    }

    /// <summary>Extends the lease as long as the handler works; ends its work when the lease is lost.</summary>
    private async Task KeepLeaseAsync(
        GroupRecord record, TimeSpan ackWait, CancellationTokenSource lost, CancellationToken done)
    {
        try
        {
            while (true)
            {
                await Task.Delay(ackWait / 3, time, done);
                if (!await TryExtendAsync(record))
                {
                    await lost.CancelAsync();
                    return;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The handler has returned.
        }
    }

    private static async Task<bool> TryExtendAsync(GroupRecord record)
    {
        try
        {
            return await record.ExtendAsync();
        }
        catch (BrokerClientException)
        {
            // No broker answers for long: nobody else can be given the message meanwhile either. The next try tells.
            return true;
        }
    }
}
