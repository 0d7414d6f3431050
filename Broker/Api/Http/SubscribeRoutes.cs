using System.Buffers;
using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.ServiceDefaults.Http;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.OpenApi;
using Wire = Broker.Protocol.Wire;

namespace Broker.Api;

/// <summary>
/// Live records as server-sent events. Each event's id says how far the stream is, so a client that comes back with it
/// as Last-Event-ID, at any broker, goes on there: what it holds is a SubscribeRequest of the contract.
/// </summary>
internal sealed class SubscribeRoutes(BrokerService broker, AdminService admin)
{
    private const string Address = "/v1/subscribe";
    private const string LastId = "Last-Event-ID";

    /// <summary>An id has positions of 1 KiB and some of 300 bytes more, in base64.</summary>
    private const int IdChars = 4_096;

    public IEnumerable<HttpOperation> All() =>
    [
        new HttpOperation
        {
            Method = "GET",
            Pattern = Address,
            Id = "Subscribe",
            Tag = "records",
            Summary = "Follow topics as server-sent events",
            Description = "Each event's data is a record as JSON. Its id goes into the header Last-Event-ID of the "
                + "next try, at any broker, as browsers do by themselves: the stream goes on behind that event. With "
                + "filters that match many topics an id remembers those that were seen last (some thirty); of the "
                + "others all records since the stream's beginning come again, and none is missed. Comments keep a "
                + "silent stream open. A refusal under way is an event 'problem', which ends the stream. "
                + HttpSchemas.DescriptionOf("Subscribe"),
            Parameters =
            [
                new("filter", "A topic, or a filter such as orders.>; several with commas between."),
                new("from", "'end' (the default), 'beginning', a time (RFC 3339), or of one topic an offset."),
                new("partition", "With an offset: of which partition, from 0.", JsonSchemaType.Integer),
                new(
                    "heartbeat_ms",
                    $"Silence after which a comment comes: 1000 to 60000. Default {Limits.HttpHeartbeatMs}.",
                    JsonSchemaType.Integer),
                new(LastId, "The id of the last event that came. Instead of from.", InHeader: true),
            ],
            Answers = [new("text/event-stream", HttpSchemas.StoredRecord)],
            ServeAsync = SubscribeAsync,
        },
    ];

    private async Task SubscribeAsync(HttpContext http)
    {
        var query = RequestTarget.Query(http.Request, "filter", "from", "partition", "heartbeat_ms");
        var heartbeat = (int)query.Number("heartbeat_ms", Limits.HttpHeartbeatMs, 1_000, 60_000);
        var request = await ReadAsync(http, query);
        using var events = new EventStream(http, request);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted);
        var beating = events.BeatAsync(TimeSpan.FromMilliseconds(heartbeat), ended.Token);
        try
        {
            await broker.Subscribe(request, events, new HttpCallContext(http, ended.Token));
        }
        catch (RpcException refusal) when (http.Response.HasStarted)
        {
            await events.EndAsync(HttpProblem.Of(refusal), ended.Token);
        }
        finally
        {
            await ended.CancelAsync();
            await beating.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task<Wire.SubscribeRequest> ReadAsync(HttpContext http, RequestQuery query)
    {
        var request = new Wire.SubscribeRequest();
        request.Filters.AddRange((query.Text("filter") ?? throw HttpRefusal.Invalid(
            "The query has no filter; name a topic, or a filter such as orders.>.")).Split(','));
        if (HttpTarget.Header(http.Request, LastId) is { Length: > 0 } id)
        {
            var place = ReadId(id);
            place.Filters.Add(request.Filters);
            return place;
        }

        var from = HttpTarget.From(query.Text("from"));
        switch (from.Kind)
        {
            case ReadFromKind.Beginning:
                request.Position = Wire.StartPosition.Beginning;
                break;
            case ReadFromKind.Time:
                request.TimeUnixMs = from.Value;
                break;
            case ReadFromKind.Offset:
                request.Positions.Add(await PositionAsync(http, request, query, from.Value));
                break;
            default:
                break;
        }

        return from.Kind != ReadFromKind.Offset && query.Text("partition") is not null
            ? throw HttpRefusal.Invalid("The query has a partition but no offset; a stream has all partitions.")
            : request;
    }

    private async Task<Wire.TopicPosition> PositionAsync(
        HttpContext http, Wire.SubscribeRequest request, RequestQuery query, long offset)
    {
        if (request.Filters is not [var topic] || topic.Contains('*') || topic.Contains('>'))
        {
            throw HttpRefusal.Invalid(
                "An offset is one topic's; with several topics begin at 'beginning', 'end' or a time.");
        }

        var found = await ContractCalls.AnswerAsync(
            http, context => admin.DescribeTopic(new DescribeTopicRequest { Name = topic }, context));
        return new Wire.TopicPosition
        {
            Topic = topic,
            TopicId = found.Topic.TopicId,
            Partition = (uint)query.Number("partition", 0, 0, uint.MaxValue),
            NextOffset = offset,
        };
    }

    private static Wire.SubscribeRequest ReadId(string id)
    {
        try
        {
            if (id.Length <= IdChars)
            {
                return Wire.SubscribeRequest.Parser.ParseFrom(Base64Url.DecodeFromChars(id));
            }
        }
        catch (Exception problem) when (problem is FormatException or InvalidProtocolBufferException)
        {
            // Said below.
        }

        throw HttpRefusal.Invalid(
            $"The header {LastId} is none that a stream of this broker has given. Take it as it came, or begin without "
            + "it.");
    }

    /// <summary>
    /// Where a stream that goes on begins in the topics of which its id says nothing: where the first one began. The
    /// token says that of a beginning at the end.
    /// </summary>
    private static Wire.SubscribeRequest StartOf(Wire.SubscribeRequest request, ByteString token)
    {
        var start = new Wire.SubscribeRequest { ResumeToken = request.ResumeToken };
        if (request.StartCase == Wire.SubscribeRequest.StartOneofCase.TimeUnixMs)
        {
            start.TimeUnixMs = request.TimeUnixMs;
        }
        else if (request.HasPosition)
        {
            start.Position = request.Position;
        }
        else if (start.ResumeToken.IsEmpty)
        {
            start.ResumeToken = token;
        }

        return start;
    }

    /// <summary>The response as the contract's Subscribe writes to it.</summary>
    private sealed class EventStream(HttpContext http, Wire.SubscribeRequest request)
        : IServerStreamWriter<Wire.SubscribeResponse>, IDisposable
    {
        private readonly SemaphoreSlim _turn = new(1);
        private readonly LinkedList<Wire.TopicPosition> _positions = new(request.Positions);
        private Wire.SubscribeRequest _start = new();
        private bool _isSilent = true;

        public WriteOptions? WriteOptions { get; set; }

        public void Dispose() => _turn.Dispose();

        public Task WriteAsync(Wire.SubscribeResponse message) => WriteAsync(message, CancellationToken.None);

        public async Task WriteAsync(Wire.SubscribeResponse message, CancellationToken cancellationToken)
        {
            await _turn.WaitAsync(cancellationToken);
            try
            {
                _isSilent = false;
                if (message.Read is not { } read)
                {
                    await BeginAsync(message.ResumeToken, cancellationToken);
                    return;
                }

                foreach (var stored in read.Batches)
                {
                    await WriteAsync(message, read.TopicId, stored, cancellationToken);
                }

                _ = Move(message, read.TopicId, read.NextOffset);
            }
            finally
            {
                _turn.Release();
            }
        }

        /// <summary>Comments while nothing else comes, until it is cancelled.</summary>
        public async Task BeatAsync(TimeSpan silence, CancellationToken cancellationToken)
        {
            using var timer = new PeriodicTimer(silence);
            while (await timer.WaitForNextTickAsync(cancellationToken))
            {
                await _turn.WaitAsync(cancellationToken);
                try
                {
                    if (_isSilent && http.Response.HasStarted)
                    {
                        await SendAsync(":\n\n"u8.ToArray(), cancellationToken);
                    }

                    _isSilent = true;
                }
                finally
                {
                    _turn.Release();
                }
            }
        }

        public async Task EndAsync(HttpProblem problem, CancellationToken cancellationToken)
        {
            var text = new ArrayBufferWriter<byte>();
            text.Write("event: problem\ndata: "u8);
            await using (var json = new Utf8JsonWriter(text, HttpJson.Writing))
            {
                problem.Write(json);
            }

            text.Write("\n\n"u8);
            await _turn.WaitAsync(cancellationToken);
            try
            {
                await SendAsync(text.WrittenMemory, cancellationToken);
            }
            finally
            {
                _turn.Release();
            }
        }

        /// <summary>The head goes when the subscription stands: until then a refusal has a status of its own.</summary>
        private async Task BeginAsync(ByteString token, CancellationToken cancellationToken)
        {
            _start = StartOf(request, token);
            http.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
            http.Response.ContentType = "text/event-stream";
            http.Response.Headers.CacheControl = "no-cache";
            await SendAsync(Encoding.UTF8.GetBytes(
                $": the subscription has begun\nid: {Id()}\n\n"), cancellationToken);
        }

        private async Task WriteAsync(
            Wire.SubscribeResponse message, ulong topicId, Wire.StoredBatch stored, CancellationToken cancellationToken)
        {
            foreach (var (position, record) in RecordBatch.Parser.ParseFrom(stored.Batch).Records.Index())
            {
                var offset = stored.BaseOffset + position;
                if (!Move(message, topicId, offset + 1))
                {
                    continue;
                }

                var text = new ArrayBufferWriter<byte>(256 + record.CalculateSize());
                text.Write("id: "u8);
                text.Write(Encoding.ASCII.GetBytes(Id()));
                text.Write("\ndata: "u8);
                await using (var json = new Utf8JsonWriter(text, HttpJson.Writing))
                {
                    json.WriteStartObject();
                    json.WriteString("topic", message.Topic);
                    json.WriteString("topic_id", $"{topicId}");
                    json.WriteNumber("partition", message.Partition);
                    json.WriteNumber("offset", offset);
                    json.WriteNumber("timestamp_unix_ms", stored.TimestampUnixMs);
                    HttpJson.WriteRecord(json, record);
                    json.WriteEndObject();
                }

                text.Write("\n\n"u8);
                await SendAsync(text.WrittenMemory, cancellationToken);
            }
        }

        /// <summary>
        /// Remembers how far a topic is, as the one that was seen last. False: it was as far already, as a batch may
        /// begin before the offset at which the stream goes on.
        /// </summary>
        private bool Move(Wire.SubscribeResponse message, ulong topicId, long nextOffset)
        {
            var node = _positions.First;
            while (node is not null
                && (node.Value.Partition != message.Partition || node.Value.Topic != message.Topic))
            {
                node = node.Next;
            }

            if (node is null)
            {
                _positions.AddFirst(new Wire.TopicPosition
                {
                    Topic = message.Topic,
                    Partition = message.Partition,
                    TopicId = topicId,
                    NextOffset = nextOffset,
                });
                return true;
            }

            var position = node.Value;
            if (position.TopicId == topicId && nextOffset <= position.NextOffset)
            {
                return false;
            }

            (position.TopicId, position.NextOffset) = (topicId, nextOffset);
            _positions.Remove(node);
            _positions.AddFirst(node);
            return true;
        }

        private string Id()
        {
            var place = _start.Clone();
            var bytes = 0;
            foreach (var position in _positions)
            {
                bytes += position.CalculateSize();
                if (bytes > Limits.EventPositionBytes)
                {
                    break;
                }

                place.Positions.Add(position);
            }

            while (_positions.Count > place.Positions.Count)
            {
                _positions.RemoveLast();
            }

            return Base64Url.EncodeToString(place.ToByteArray());
        }

        /// <summary>
        /// It waits for a reader that is slow: the subscription falls behind then, and reads on from the log.
        /// </summary>
        private async Task SendAsync(ReadOnlyMemory<byte> text, CancellationToken cancellationToken) =>
            await http.Response.BodyWriter.WriteAsync(text, cancellationToken);
    }
}
