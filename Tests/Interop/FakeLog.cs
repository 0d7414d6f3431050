using System.Runtime.CompilerServices;
using System.Text;
using Broker.Protocol.V1;
using Google.Protobuf;
using Subscriber.Following;
using Subscriber.Inbox;

namespace Broker.Tests.Interop;

/// <summary>
/// The brokers as the subscriber sees them: topics that can be listed and read, and what they publish live.
/// </summary>
internal sealed class FakeLog : IBrokerLog
{
    private readonly Lock _lock = new();
    private readonly Dictionary<TopicPlace, List<string>> _topics = [];

    // Small, so that lists of a few topics have several pages.
    private const int TopicsPerPage = 2;

    public volatile bool Down;

    /// <summary>Values that compaction has taken out.</summary>
    private readonly HashSet<string> _gone = [];

    public int Reads;

    public volatile IReadOnlyList<string>? Registered;

    /// <summary>Records with these values are gone, whatever topic they were in.</summary>
    public void Compact(params string[] values)
    {
        lock (_lock)
        {
            _gone.UnionWith(values);
        }
    }

    /// <summary>Commits a batch, and returns what a leader would publish on Redis.</summary>
    public LiveBatch Append(string topic, params string[] values) => AppendTo(topic, 0, values);

    public LiveBatch AppendTo(string topic, int partition, params string[] values)
    {
        lock (_lock)
        {
            var place = new TopicPlace(topic, partition);
            var log = _topics.TryGetValue(place, out var found) ? found : _topics[place] = [];
            var batch = new RecordBatch();
            batch.Records.Add(values.Select(value => new Record { Value = ByteString.CopyFromUtf8(value) }));
            var live = new LiveBatch
            {
                Topic = topic,
                Partition = (uint)partition,
                BaseOffset = log.Count,
                Count = (uint)values.Length,
                TimestampUnixMs = 1,
                Batch = batch.ToByteString(),
            };
            log.AddRange(values);
            return live;
        }
    }

    public async IAsyncEnumerable<LogRecord> ReadAsync(
        TopicPlace place, long fromOffset, int limit, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await Task.Yield();
        Interlocked.Increment(ref Reads);
        ThrowIfDown();
        List<string> values;
        lock (_lock)
        {
            values = [.. (_topics.GetValueOrDefault(place) ?? []).Skip((int)fromOffset).Take(limit)];
        }

        for (var i = 0; i < values.Count; i++)
        {
            ThrowIfDown();
            lock (_lock)
            {
                if (_gone.Contains(values[i]))
                {
                    continue;
                }
            }

            yield return new LogRecord(
                fromOffset + i, new InboxRecord(1, default, Encoding.UTF8.GetBytes(values[i]), default));
        }

        if (values.Count > 0)
        {
            yield return new LogRecord(fromOffset + values.Count, null);
        }
    }

    public Task<LogTopicPage> ListTopicsAsync(
        string filter, string pageToken, CancellationToken cancellationToken)
    {
        ThrowIfDown();
        var parsed = Client.TopicFilter.Parse(filter);
        lock (_lock)
        {
            var found = _topics.Keys.Select(place => place.Topic).Distinct()
                .Where(name => parsed.Matches(name) && string.CompareOrdinal(name, pageToken) > 0)
                .Order(StringComparer.Ordinal)
                .ToList();
            return Task.FromResult(new LogTopicPage(
                [.. _topics.Where(topic => found.Take(TopicsPerPage).Contains(topic.Key.Topic))
                    .Select(topic => new LogTopic(topic.Key, 0, topic.Value.Count))],
                found.Count > TopicsPerPage ? found[TopicsPerPage - 1] : ""));
        }
    }

    public Task PutLiveSubscriptionAsync(
        string name, IReadOnlyList<string> filters, CancellationToken cancellationToken)
    {
        ThrowIfDown();
        Registered = filters;
        return Task.CompletedTask;
    }

    public Task DeleteLiveSubscriptionAsync(string name, CancellationToken cancellationToken)
    {
        ThrowIfDown();
        Registered = [];
        return Task.CompletedTask;
    }

    private void ThrowIfDown()
    {
        if (Down)
        {
            throw new BrokerLogException("No broker answers.");
        }
    }
}
