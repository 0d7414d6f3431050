using Broker.Diagnostics;
using Broker.Domain;
using StackExchange.Redis;

namespace Broker.Delivery;

/// <summary>
/// The sending side: one loop hands the queue to Redis, fire and forget. The Redis client's own queue has no bound, so
/// the loop awaits an answer after every LiveUnconfirmedBytes; while Redis owes it, batches wait in our queue, which
/// has one.
/// </summary>
public sealed partial class LiveFanOut
{
    private long _lostInFlight;
    private long _droppedWhenWell;
    private long _unconfirmedBytes;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var failed = false;
        while (true)
        {
            try
            {
                if (failed)
                {
                    await Task.Delay(_options.SlowAfter, _time, stoppingToken);
                }

                await RunAsync(stoppingToken);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception exception)
            {
                // Redis is optional: nothing that happens here may end the node.
                failed = true;
                SetState(LiveState.Lost, exception.Message);
                DeliveryEvents.LiveFailed(_logger, exception);
            }
        }
    }

    private async Task RunAsync(CancellationToken cancellationToken)
    {
        var redis = await ConnectAsync(cancellationToken);
        try
        {
            await WaitUntilWellAsync(redis, cancellationToken);
            while (true)
            {
                await _queue.WaitAsync(cancellationToken);
                await DrainAsync(redis, cancellationToken);
            }
        }
        finally
        {
            await redis.CloseAsync(allowCommandsToComplete: false);
        }
    }

    private async Task<ConnectionMultiplexer> ConnectAsync(CancellationToken cancellationToken)
    {
        // With AbortOnConnectFail off this ends with a multiplexer even when Redis is away, and that one keeps trying.
        var connecting = ConnectionMultiplexer.ConnectAsync(_redis);
        return await connecting.WaitAsync(cancellationToken);
    }

    private async Task DrainAsync(ConnectionMultiplexer redis, CancellationToken cancellationToken)
    {
        while (_queue.Count > 0)
        {
            if (!redis.IsConnected)
            {
                SetState(LiveState.Lost, "the connection broke");
                await WaitUntilWellAsync(redis, cancellationToken);
            }

            // The frame is taken after the wait: the queue drops the oldest itself while Redis is away.
            if (!_queue.TryDequeue(out var frame))
            {
                return;
            }

            try
            {
                await SendAsync(redis, frame, cancellationToken);
                Interlocked.Increment(ref _published);
            }
            catch (Exception exception) when (IsLossOfRedis(exception))
            {
                Interlocked.Increment(ref _lostInFlight);
                SetState(LiveState.Lost, exception.Message);
                await WaitUntilWellAsync(redis, cancellationToken);
            }
        }
    }

    private async Task SendAsync(ConnectionMultiplexer redis, LiveFrame frame, CancellationToken cancellationToken)
    {
        using var span = BrokerSpans.StartHandOver("deliver", frame.Topic, frame.Batch, frame.BaseOffset, frame.Count);
        var channel = new RedisChannel(frame.Channel, RedisChannel.PatternMode.Literal);
        var subscriber = redis.GetSubscriber();
        _unconfirmedBytes += frame.Message.Length;
        if (_unconfirmedBytes < Limits.LiveUnconfirmedBytes)
        {
            await subscriber.PublishAsync(channel, frame.Message, CommandFlags.FireAndForget);
            return;
        }

        _unconfirmedBytes = 0;
        await AnswerOf(redis, subscriber.PublishAsync(channel, frame.Message), cancellationToken);
    }

    /// <summary>
    /// Awaits an answer for as long as the connection lasts; its break is a RedisException or a TimeoutException.
    /// </summary>
    private async Task AnswerOf(ConnectionMultiplexer redis, Task answer, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                await answer.WaitAsync(_options.SlowAfter, _time, cancellationToken);
                SetState(LiveState.Connected, "");
                return;
            }
            catch (TimeoutException) when (!answer.IsCompleted && redis.IsConnected)
            {
                SetState(LiveState.Slow, "");
            }
        }
    }

    private async Task WaitUntilWellAsync(ConnectionMultiplexer redis, CancellationToken cancellationToken)
    {
        _unconfirmedBytes = 0;
        while (true)
        {
            try
            {
                // The ping finds what a mere connection hides: a wrong password, a server that is still loading.
                if (redis.IsConnected)
                {
                    await AnswerOf(redis, redis.GetDatabase().PingAsync(), cancellationToken);
                    return;
                }

                SetState(LiveState.Lost, "no connection");
            }
            catch (Exception exception) when (IsLossOfRedis(exception))
            {
                SetState(LiveState.Lost, exception.Message);
            }

            await Task.Delay(_options.RetryDelay, _time, cancellationToken);
        }
    }

    private static bool IsLossOfRedis(Exception exception) =>
        exception is RedisException or TimeoutException or ObjectDisposedException;

    /// <summary>Only this loop changes the state, and a change is logged once.</summary>
    private void SetState(LiveState state, string reason)
    {
        if (State == state)
        {
            return;
        }

        Volatile.Write(ref _state, (int)state);
        switch (state)
        {
            case LiveState.Connected:
                DeliveryEvents.LiveConnected(_logger);
                LogDropped();
                break;
            case LiveState.Slow:
                DeliveryEvents.LiveSlow(_logger, _options.SlowAfter);
                break;
            case LiveState.Lost:
                DeliveryEvents.LiveLost(_logger, reason);
                break;
            default:
                break;
        }
    }

    private void LogDropped()
    {
        var dropped = DroppedBatches;
        if (dropped > _droppedWhenWell)
        {
            DeliveryEvents.LiveDropped(_logger, dropped - _droppedWhenWell);
            _droppedWhenWell = dropped;
        }
    }
}
