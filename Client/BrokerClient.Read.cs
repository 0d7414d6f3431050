using System.Runtime.CompilerServices;
using Broker.Client.Connections;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    /// <summary>
    /// Reads a topic, or one partition of it, in the order of its offsets, each record once. When a broker dies or
    /// hangs, the read goes on at another one with the next offset. It asks the topic's leader when it knows it;
    /// another replica may lag by a network hop. Keys and values share memory with what came over the wire: keep a copy
    /// of what you keep for long.
    /// </summary>
    /// <param name="topic">The topic to read.</param>
    /// <param name="options">Where to begin and when to end; by default from the beginning to the end.</param>
    /// <param name="cancellationToken">Ends the read.</param>
    /// <returns>The records.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: no topic name. NotFound: no such topic (never with Follow). TopicDeleted: it was deleted while
    /// it was read. OutOfRange: FromOffset lies beyond the end (never with Follow). Unavailable: no broker answered for
    /// OperationTimeout (never with Follow). ResourceExhausted: too many keys for LastPerKey.
    /// </exception>
    public async IAsyncEnumerable<BrokerRecord> ReadAsync(
        string topic,
        ReadOptions? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        ObjectDisposedException.ThrowIf(_isClosing, this);
        if (!TopicName.Validate(topic, out var reason))
        {
            throw ClientErrors.Invalid(reason);
        }

        options ??= new ReadOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(options.Partition, nameof(options));
        var read = new TopicRead(
            topic, options.Partition, options.Follow, options.MaxRecords, _options, _time, _logger)
        {
            NextOffset = options.FromOffset
                ?? (options is { FromEnd: true, FromTime: null }
                    ? await EndOfAsync(topic, options, cancellationToken)
                    : 0),
            FromTime = options.FromOffset is null ? options.FromTime : null,
            Linearizable = options.Linearizable,
            IsLastPerKey = options is { LastPerKey: true, FromOffset: null, FromTime: null, FromEnd: false },
        };
        while (!read.IsDone)
        {
            var connection = read.Choose(_connections);
            using var call = connection.Messages.Read(read.Request(), cancellationToken: cancellationToken);
            while (await read.MoveNextAsync(call.ResponseStream, connection, _connections, cancellationToken)
                is { } response)
            {
                var before = read.Records;
                read.Began(response);
                foreach (var batch in response.Batches)
                {
                    var records = new RecordCursor(topic, options.Partition, batch, read.NextOffset);
                    while (!read.IsDone && records.TryNext(out var record))
                    {
                        read.Advance(record.Offset);
                        yield return record;
                    }
                }

                read.SkipTo(response.NextOffset);
                options.Progress?.Report(read.NextOffset);
                _metrics.Consumed(read.Records - before);
            }
        }
    }

    /// <summary>
    /// The end is looked up once and then read from as an offset: if the read said "from the end" again after a broken
    /// connection, it would skip what was published between.
    /// </summary>
    private async Task<long> EndOfAsync(string topic, ReadOptions options, CancellationToken cancellationToken)
    {
        var found = options.Linearizable ? await FindLatestAsync(topic, cancellationToken)
            : await ListTopicsAsync(topic, cancellationToken) is [var first, ..] ? first
            : null;
        return found is null ? 0
            : found.Partitions.Count > options.Partition ? found.Partitions[options.Partition].NextOffset
            : found.NextOffset;
    }

    private async Task<TopicInfo?> FindLatestAsync(string topic, CancellationToken cancellationToken)
    {
        try
        {
            return (await DescribeTopicAsync(topic, linearizable: true, cancellationToken)).Topic;
        }
        catch (BrokerClientException refusal) when (refusal.Code == BrokerClientErrorCode.NotFound)
        {
            return null;
        }
    }
}
