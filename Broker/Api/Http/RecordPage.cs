using Broker.Protocol.V1;
using Grpc.Core;
using Microsoft.Net.Http.Headers;
using Wire = Broker.Protocol.Wire;

namespace Broker.Api;

/// <summary>
/// What one read by HTTP gets: it takes what the contract's Read sends until it has enough records or bytes.
/// </summary>
/// <param name="start">The first offset that is wanted.</param>
/// <param name="end">Where to go on when nothing comes.</param>
/// <param name="maxRecords">The most records.</param>
/// <param name="maxBytes">The most bytes, but for the first record.</param>
internal sealed class RecordPage(long start, long end, int maxRecords, int maxBytes)
    : IServerStreamWriter<Wire.ReadResponse>
{
    private readonly List<(RecordPlace Place, Record Record)> _records = [];
    private long _bytes;
    private long _next = start;
    private bool _isSeen;

    public WriteOptions? WriteOptions { get; set; }

    /// <summary>Ends the read.</summary>
    public Func<Task> Enough { get; set; } = static () => Task.CompletedTask;

    public IReadOnlyList<(RecordPlace Place, Record Record)> Records => _records;

    public bool IsFull { get; private set; }

    /// <summary>0: the topic was not seen.</summary>
    public ulong TopicId { get; private set; }

    public long NextOffset => _isSeen ? _next : EndOffset;

    public long EndOffset { get; private set; } = end;

    public Task WriteAsync(Wire.ReadResponse message) => WriteAsync(message, CancellationToken.None);

    public async Task WriteAsync(Wire.ReadResponse message, CancellationToken cancellationToken)
    {
        (TopicId, EndOffset, _isSeen) = (message.TopicId, message.HighWatermark, true);
        foreach (var batch in message.Batches)
        {
            if (!TryTake(batch, message.TopicId))
            {
                IsFull = true;
                await Enough();
                return;
            }
        }

        _next = Math.Max(_next, message.NextOffset);
        if (_records.Count > 0)
        {
            // What is there is answered at once: who wants more goes on at the next offset.
            IsFull = _records.Count >= maxRecords || _bytes >= maxBytes || _next >= EndOffset;
            if (IsFull)
            {
                await Enough();
            }
        }
    }

    /// <summary>False: there is no room for all of it.</summary>
    private bool TryTake(Wire.StoredBatch stored, ulong topicId)
    {
        var batch = RecordBatch.Parser.ParseFrom(stored.Batch);
        foreach (var (position, record) in batch.Records.Index())
        {
            var offset = stored.BaseOffset + position;
            if (offset < _next)
            {
                continue;
            }

            var size = record.CalculateSize();
            if (_records.Count == maxRecords || (_records.Count > 0 && _bytes + size > maxBytes))
            {
                return false;
            }

            _bytes += size;
            _records.Add((new RecordPlace("", topicId, 0, offset, stored.TimestampUnixMs), record));
            _next = offset + 1;
        }

        return true;
    }
}

/// <summary>Which of the types that can be made the caller wants most.</summary>
internal readonly struct Accepted
{
    /// <param name="request">Whose header Accept is read; absent, or any: the first one.</param>
    /// <param name="types">What can be made; the first one "*/*": whatever the record is.</param>
    public Accepted(HttpRequest request, params string[] types)
    {
        var wanted = request.Headers.Accept;
        if (wanted.Count == 0)
        {
            Type = types[0];
            return;
        }

        var ranges = MediaTypeHeaderValue.TryParseList(wanted, out var list)
            ? list.OrderByDescending(static each => each.Quality ?? 1)
            : throw HttpRefusal.Invalid($"The header Accept is '{wanted}', which is no list of media types.");
        foreach (var range in ranges)
        {
            if (types.FirstOrDefault(type => type == "*/*"
                ? range.MatchesAllTypes
                : new MediaTypeHeaderValue(type).IsSubsetOf(range)) is { } type)
            {
                Type = type;
                return;
            }
        }

        Type = types[0] == "*/*" ? types[0] : throw new HttpRefusal(
            StatusCodes.Status406NotAcceptable,
            Protocol.Wire.Reason.InvalidRequest,
            $"The header Accept is '{wanted}'; what there is is {string.Join(" or ", types)}.");
    }

    public string Type { get; }
}
