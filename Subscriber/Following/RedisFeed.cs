using Broker.Client;
using StackExchange.Redis;

namespace Subscriber.Following;

/// <summary>
/// The live feed: subscribes to the Redis channels of the subjects and hands on what arrives. Whether it works is
/// tried, not guessed: it sends itself a message every half second. Until one comes back the log is polled more often.
/// </summary>
internal sealed class RedisFeed(
    IServiceProvider services,
    SubjectList subjects,
    LiveReceiver receiver,
    LiveHealth health,
    Inbox.Startup startup,
    TimeProvider time,
    ILogger<RedisFeed> logger) : BackgroundService
{
    private const string ChannelPrefix = "broker:";

    private static readonly TimeSpan EchoInterval = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan EchoTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(2);

    /// <summary>A connection that has been silent for four times as long is made anew by the Redis client.</summary>
    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(1);

    private readonly RedisChannel _echo =
        new($"broker-subscriber-echo:{Guid.NewGuid():N}", RedisChannel.PatternMode.Literal);

    private readonly Dictionary<string, RedisChannel> _subscribed = new(StringComparer.Ordinal);
    private long _lastEcho;
    private bool _failing;

    /// <summary>How the Redis client behaves: it connects again by itself, and subscribes again then.</summary>
    public static void Configure(ConfigurationOptions options)
    {
        options.ClientName ??= "broker-subscriber";
        options.ConnectTimeout = (int)ConnectTimeout.TotalMilliseconds;
        options.AsyncTimeout = (int)AnswerTimeout.TotalMilliseconds;
        options.ReconnectRetryPolicy = new LinearRetry((int)EchoInterval.TotalMilliseconds);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await startup.Ready.WaitAsync(stoppingToken);
        // Made here, since it blocks for as long as a connection takes.
        if (services.GetService<IConnectionMultiplexer>() is not { } redis)
        {
            logger.RedisAbsent();
            return;
        }

        var subscriber = redis.GetSubscriber();
        while (true)
        {
            try
            {
                await FeedAsync(subscriber, stoppingToken);
            }
            catch (Exception e) when (e is RedisException or TimeoutException)
            {
                if (!_failing)
                {
                    logger.RedisFailed(e);
                }

                _failing = true;
            }

            SetHealth(false);
            await Task.Delay(EchoInterval, time, stoppingToken);
        }
    }

    private async Task FeedAsync(ISubscriber subscriber, CancellationToken stoppingToken)
    {
        // A subscription that failed may stand in the client's list all the same: each attempt begins with none.
        _subscribed.Clear();
        await subscriber.UnsubscribeAllAsync(CommandFlags.FireAndForget);
        await subscriber.SubscribeAsync(_echo, (_, _) => Volatile.Write(ref _lastEcho, time.GetTimestamp()))
            .WaitAsync(EchoTimeout, time, stoppingToken);
        _lastEcho = time.GetTimestamp();
        while (true)
        {
            var changed = subjects.Changed.Next;
            await SubscribeAsync(subscriber, stoppingToken);
            await subscriber.PublishAsync(_echo, RedisValue.EmptyString).WaitAsync(EchoTimeout, time, stoppingToken);
            await Task.WhenAny(Task.Delay(EchoInterval, time, stoppingToken), changed);
            stoppingToken.ThrowIfCancellationRequested();
            var isHeard = time.GetElapsedTime(Volatile.Read(ref _lastEcho)) < EchoTimeout;
            SetHealth(isHeard);
            if (!isHeard)
            {
                // Subscribed messages have a connection of their own, and only an answer that is owed tells the client
                // that it is dead.
                await subscriber.PingAsync().WaitAsync(EchoTimeout, time, stoppingToken);
            }
        }
    }

    private async Task SubscribeAsync(ISubscriber subscriber, CancellationToken stoppingToken)
    {
        var wanted = subjects.Cover;
        foreach (var filter in wanted.Where(filter => !_subscribed.ContainsKey(filter)))
        {
            var channel = ChannelOf(TopicFilter.Parse(filter));
            // Through a queue, which keeps the order: a topic's batches out of order look like gaps.
            var messages = await subscriber.SubscribeAsync(channel).WaitAsync(EchoTimeout, time, stoppingToken);
            messages.OnMessage(message => receiver.Receive(message.Channel!, message.Message!));
            _subscribed[filter] = channel;
        }

        foreach (var filter in _subscribed.Keys.Except(wanted).ToList())
        {
            await subscriber.UnsubscribeAsync(_subscribed[filter]).WaitAsync(EchoTimeout, time, stoppingToken);
            _subscribed.Remove(filter);
        }
    }

    private static RedisChannel ChannelOf(TopicFilter filter) => filter.IsLiteral
        ? new RedisChannel(ChannelPrefix + filter, RedisChannel.PatternMode.Literal)
        : new RedisChannel(ChannelPrefix + filter.RedisPattern, RedisChannel.PatternMode.Pattern);

    private void SetHealth(bool healthy)
    {
        if (healthy == health.IsHealthy)
        {
            return;
        }

        health.IsHealthy = healthy;
        if (healthy)
        {
            _failing = false;
            logger.RedisHealthy();
        }
        else
        {
            logger.RedisAway();
        }
    }
}
