using Broker.Client;
using StackExchange.Redis;

namespace Subscriber.Following;

/// <summary>
/// The live feed: subscribes to the Redis channels of the subjects and hands on what arrives. Whether it works is
/// tried, not guessed: it sends itself a message every half second. When none comes back the connection is made anew,
/// and until then the log is polled more often.
/// </summary>
internal sealed class RedisFeed(
    string? connectionString,
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
    private static readonly TimeSpan ReconnectAfter = TimeSpan.FromSeconds(6);

    private readonly RedisChannel _echo =
        new($"broker-subscriber-echo:{Guid.NewGuid():N}", RedisChannel.PatternMode.Literal);

    private long _lastEcho;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (string.IsNullOrWhiteSpace(connectionString))
        {
            logger.RedisAbsent();
            return;
        }

        await startup.Ready.WaitAsync(stoppingToken);
        var failing = false;
        while (true)
        {
            try
            {
                using var connection = await ConnectAsync(connectionString);
                failing = await FeedAsync(connection, stoppingToken) && failing;
            }
            catch (Exception e) when (e is RedisException or TimeoutException or System.Net.Sockets.SocketException)
            {
                if (!failing)
                {
                    logger.RedisFailed(e);
                }

                failing = true;
            }

            SetHealth(false);
            await Task.Delay(EchoInterval, time, stoppingToken);
        }
    }

    private static async Task<ConnectionMultiplexer> ConnectAsync(string connectionString)
    {
        var options = ConfigurationOptions.Parse(connectionString);
        options.AbortOnConnectFail = false;
        options.ConnectTimeout = 2_000;
        options.ClientName = "broker-subscriber";
        return await ConnectionMultiplexer.ConnectAsync(options);
    }

    // Returns when the connection is worth no more: no echo for long. The log was polled meanwhile.
    private async Task<bool> FeedAsync(ConnectionMultiplexer connection, CancellationToken stoppingToken)
    {
        var subscriber = connection.GetSubscriber();
        var subscribed = new Dictionary<string, RedisChannel>(StringComparer.Ordinal);
        _lastEcho = time.GetTimestamp();
        await subscriber.SubscribeAsync(_echo, (_, _) => Volatile.Write(ref _lastEcho, time.GetTimestamp()))
            .WaitAsync(EchoTimeout, time, stoppingToken);
        await SubscribeAsync(subscriber, subscribed, stoppingToken);
        var sent = 0;
        while (true)
        {
            var changed = subjects.Changed.Next;
            await SubscribeAsync(subscriber, subscribed, stoppingToken);
            await subscriber.PublishAsync(_echo, sent++, CommandFlags.FireAndForget)
                .WaitAsync(EchoTimeout, time, stoppingToken);
            await Task.WhenAny(Task.Delay(EchoInterval, time, stoppingToken), changed);
            stoppingToken.ThrowIfCancellationRequested();
            var silence = time.GetElapsedTime(Volatile.Read(ref _lastEcho));
            if (silence > ReconnectAfter)
            {
                return false;
            }

            SetHealth(silence < EchoTimeout && connection.IsConnected);
        }
    }

    private async Task SubscribeAsync(
        ISubscriber subscriber, Dictionary<string, RedisChannel> subscribed, CancellationToken stoppingToken)
    {
        var wanted = subjects.Cover;
        foreach (var filter in wanted.Where(filter => !subscribed.ContainsKey(filter)))
        {
            var channel = ChannelOf(TopicFilter.Parse(filter));
            await subscriber.SubscribeAsync(channel, (from, value) => receiver.Receive(from!, value!))
                .WaitAsync(EchoTimeout, time, stoppingToken);
            subscribed[filter] = channel;
        }

        foreach (var filter in subscribed.Keys.Except(wanted).ToList())
        {
            await subscriber.UnsubscribeAsync(subscribed[filter]).WaitAsync(EchoTimeout, time, stoppingToken);
            subscribed.Remove(filter);
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
            logger.RedisHealthy();
        }
        else
        {
            logger.RedisAway();
        }
    }
}
