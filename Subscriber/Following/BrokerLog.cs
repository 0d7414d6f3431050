using System.Runtime.CompilerServices;
using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Subscriber.Inbox;

namespace Subscriber.Following;

/// <summary>The brokers, through the client library.</summary>
internal sealed class BrokerLog(IBrokerClient client, IBrokerAdmin admin) : IBrokerLog
{
    public async IAsyncEnumerable<LogRecord> ReadAsync(
        TopicPlace place, long fromOffset, int limit, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var end = new End { Offset = fromOffset };
        var options = new ReadOptions
        {
            Partition = place.Partition,
            FromOffset = fromOffset,
            MaxRecords = limit,
            Progress = end,
        };
        await using var records = client
            .ReadAsync(place.Topic, options, cancellationToken)
            .GetAsyncEnumerator(cancellationToken);
        while (await TryMoveAsync(records))
        {
            var record = records.Current;
            yield return new LogRecord(
                record.Offset,
                new InboxRecord(
                    record.Timestamp.ToUnixTimeMilliseconds(),
                    record.Key,
                    record.Value,
                    EncodeHeaders(record.Headers)));
        }

        if (end.Offset > fromOffset)
        {
            yield return new LogRecord(end.Offset, null);
        }
    }

    public Task<LogTopicPage> ListTopicsAsync(
        string filter, string pageToken, CancellationToken cancellationToken) =>
        TranslateAsync(async () =>
        {
            var page = await admin.ListTopicsPageAsync(filter, pageToken, cancellationToken);
            return new LogTopicPage(
                page.Topics.SelectMany(PartitionsOf).ToList(),
                page.NextPageToken);
        });

    public Task PutLiveSubscriptionAsync(
        string name, IReadOnlyList<string> filters, CancellationToken cancellationToken) =>
        TranslateAsync(async () =>
        {
            await admin.PutLiveSubscriptionAsync(name, filters, cancellationToken);
            return true;
        });

    public Task DeleteLiveSubscriptionAsync(string name, CancellationToken cancellationToken) =>
        TranslateAsync(async () =>
        {
            await admin.DeleteLiveSubscriptionAsync(name, cancellationToken);
            return true;
        });

    private static IEnumerable<LogTopic> PartitionsOf(TopicInfo topic) => topic.Partitions.Count == 0
        ? [new LogTopic(new TopicPlace(topic.Name), topic.FirstOffset, topic.NextOffset)]
        : topic.Partitions.Select((partition, number) => new LogTopic(
            new TopicPlace(topic.Name, number), partition.FirstOffset, partition.NextOffset));

    // A topic that a lagging replica does not know yet, or knows to a smaller offset, has nothing more for now.
    private static async Task<bool> TryMoveAsync(IAsyncEnumerator<BrokerRecord> records)
    {
        try
        {
            return await records.MoveNextAsync();
        }
        catch (BrokerClientException e) when (
            e.Code is BrokerClientErrorCode.NotFound or BrokerClientErrorCode.OutOfRange)
        {
            return false;
        }
        catch (BrokerClientException e)
        {
            throw new BrokerLogException(e.Message, e);
        }
    }

    private static async Task<T> TranslateAsync<T>(Func<Task<T>> call)
    {
        try
        {
            return await call();
        }
        catch (BrokerClientException e)
        {
            throw new BrokerLogException(e.Message, e);
        }
    }

    private static byte[] EncodeHeaders(IReadOnlyList<KeyValuePair<string, ReadOnlyMemory<byte>>> headers)
    {
        if (headers.Count == 0)
        {
            return [];
        }

        var record = new Record();
        foreach (var (name, value) in headers)
        {
            record.Headers.Add(new Header { Name = name, Value = UnsafeByteOperations.UnsafeWrap(value) });
        }

        return record.ToByteArray();
    }

    /// <summary>How far a read has got.</summary>
    private sealed class End : IProgress<long>
    {
        public long Offset { get; set; }

        public void Report(long value) => Offset = value;
    }
}
