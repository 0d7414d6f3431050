using Broker.Domain;
using Broker.Protocol.V1;
using Google.Protobuf;
using StackExchange.Redis;
using LiveSubscription = Broker.ClusterState.LiveSubscription;

namespace Broker.Delivery;

/// <summary>
/// Publishes committed batches on Redis while this node leads their group and a live subscription wants their topic:
/// one <c>broker.v1.LiveBatch</c> per batch on the channel <c>broker:{topic}</c>, in offset order per partition. It is
/// a shortcut and never the truth: whatever is dropped here (Redis away, slow, restarted; the queue full) subscribers
/// see as a gap in the offsets, and read from the log. One for a node; the groups' loops call <see cref="OnAppended"/>,
/// which never waits.
/// </summary>
public sealed partial class LiveFanOut : BackgroundService
{
    private readonly LiveFanOutOptions _options;
    private readonly Func<GroupId, bool> _isLeader;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly ConfigurationOptions _redis;
    private readonly LiveQueue _queue;

    private LiveMatcher _matcher = LiveMatcher.None;
    private int _state;
    private long _published;

    /// <exception cref="ArgumentException">The connection string cannot be read.</exception>
    public LiveFanOut(
        LiveFanOutOptions options, Func<GroupId, bool> isLeader, ILogger<LiveFanOut> logger, TimeProvider time)
    {
        _options = options;
        _isLeader = isLeader;
        _logger = logger;
        _time = time;
        _redis = ConfigurationOptions.Parse(options.ConnectionString);
        _redis.AbortOnConnectFail = false;
        _redis.ReconnectRetryPolicy = new LinearRetry((int)options.RetryDelay.TotalMilliseconds);
        _queue = new LiveQueue(options.QueueBatches, options.QueueBytes);
    }

    public LiveState State => (LiveState)Volatile.Read(ref _state);

    /// <summary>Batches handed to Redis, since the start.</summary>
    public long PublishedBatches => Interlocked.Read(ref _published);

    /// <summary>Batches dropped because the queue was full or Redis was lost with them, since the start.</summary>
    public long DroppedBatches => _queue.Dropped + Interlocked.Read(ref _lostInFlight);

    /// <summary>Batches that wait for Redis.</summary>
    public int QueuedBatches => _queue.Count;

    /// <summary>Takes the live subscriptions as they are now; for the metadata group's change event.</summary>
    public void SetSubscriptions(IEnumerable<LiveSubscription> subscriptions) =>
        Volatile.Write(ref _matcher, new LiveMatcher(subscriptions));

    /// <summary>For the apply thread: encodes and queues a batch that is wanted. Never waits for Redis.</summary>
    public void OnAppended(
        GroupId group, string topic, long baseOffset, int count, long timestampUnixMs, ReadOnlyMemory<byte> batch)
    {
        var matcher = Volatile.Read(ref _matcher);
        if (matcher.IsEmpty
            || matcher.ChannelOf(topic) is not { } channel
            || !_isLeader(group)
            || _time.GetUtcNow().ToUnixTimeMilliseconds() - timestampUnixMs > _options.MaxAge.TotalMilliseconds)
        {
            return;
        }

        var live = new LiveBatch
        {
            Topic = channel.Topic,
            Partition = (uint)channel.Partition,
            BaseOffset = baseOffset,
            Count = (uint)count,
            TimestampUnixMs = timestampUnixMs,
        };
        if (batch.Length <= Limits.LiveBatchBytes)
        {
            live.Batch = UnsafeByteOperations.UnsafeWrap(batch);
        }

        // Redis wants an array of its own anyway; copying here means that the queue holds these bytes and not whole log
        // entries.
        _queue.Enqueue(new LiveFrame(channel.Name, live.ToByteArray(), topic, baseOffset, count, live.Batch.Length));
    }
}
