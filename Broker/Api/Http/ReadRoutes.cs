using System.Globalization;
using System.Text.Json;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.ServiceDefaults.Http;
using Microsoft.OpenApi;
using Wire = Broker.Protocol.Wire;

namespace Broker.Api;

/// <summary>Reading by HTTP: a page of a partition's records, or one record as it was published.</summary>
internal sealed class ReadRoutes(BrokerService broker, AdminService admin) : IDisposable
{
    private const string Many = "/v1/topics/{topic}/records";
    private const string One = "/v1/topics/{topic}/records/{offset}";

    private const int FlushBytes = 64 * 1024;

    private static readonly TimeSpan ComeBack = TimeSpan.FromSeconds(1);

    private static readonly string[] Query =
        ["from", "partition", "max", "max_bytes", "wait_ms", "topic_id", "linearizable"];

    private readonly SemaphoreSlim _writing = new(Limits.HttpReadsAtOnce);

    public IEnumerable<HttpOperation> All() =>
    [
        new HttpOperation
        {
            Method = "GET",
            Pattern = Many,
            Id = "ReadRecords",
            Tag = "records",
            Summary = "Read a topic's records",
            Description = "A page of one partition, as JSON, or as CloudEvents with Accept: "
                + "application/cloudevents-batch+json (a record that was not published as a CloudEvent becomes one); "
                + "where to go on stands in the header Broker-Next-Offset, too. " + HttpSchemas.DescriptionOf("Read"),
            Parameters =
            [
                new("from", "An offset; 'beginning' (the default); 'end'; or a time (RFC 3339)."),
                new("partition", ContractWords.Of("ReadRequest.partition"), JsonSchemaType.Integer),
                new(
                    "max",
                    $"The most records that are wanted: 1 to {Limits.HttpReadRecords}. Default "
                    + $"{Limits.DefaultHttpReadRecords}.",
                    JsonSchemaType.Integer),
                new(
                    "max_bytes",
                    $"The most bytes of records, up to {Limits.HttpReadBytes}; one record comes in any case. Default "
                    + $"{Limits.DefaultHttpReadBytes}.",
                    JsonSchemaType.Integer),
                new(
                    "wait_ms",
                    "How long to wait for the first record when there is none yet, also for the topic; up to "
                    + $"{Limits.HttpWaitMs}. Default 0.",
                    JsonSchemaType.Integer),
                new("topic_id", ContractWords.Of("ReadRequest.topic_id")),
                new("linearizable", ContractWords.Of("ReadRequest.linearizable"), JsonSchemaType.Boolean),
            ],
            Answers =
            [
                new(HttpJson.ContentType, HttpSchemas.ReadAnswer),
                new(CloudEventRecords.BatchType, document => HttpSchemas.List(HttpSchemas.CloudEvent(document))),
            ],
            ServeAsync = ReadAsync,
        },
        new HttpOperation
        {
            Method = "GET",
            Pattern = One,
            Id = "ReadRecord",
            Tag = "records",
            Summary = "Read one record",
            Description = "Its value is the body, with its content type; of a CloudEvent the attributes are headers "
                + "ce-* (binary mode). With Accept: application/cloudevents+json it is one in structured mode, "
                + "with Accept: application/json the record as in a page. Headers tell where it is: Broker-Offset, "
                + "Broker-Partition, Broker-Topic-Id, Broker-Timestamp. 404: there is no such record, or none any "
                + "more.",
            Parameters =
            [
                new("partition", ContractWords.Of("ReadRequest.partition"), JsonSchemaType.Integer),
                new("topic_id", ContractWords.Of("ReadRequest.topic_id")),
            ],
            Answers =
            [
                new("application/octet-stream", HttpSchemas.Bytes),
                new(CloudEventRecords.StructuredType, HttpSchemas.CloudEvent),
                new(HttpJson.ContentType, HttpSchemas.StoredRecord),
            ],
            ServeAsync = ReadOneAsync,
        },
    ];

    public void Dispose() => _writing.Dispose();

    private async Task ReadAsync(HttpContext http)
    {
        var query = RequestTarget.Query(http.Request, Query);
        var wait = (int)query.Number("wait_ms", 0, 0, Limits.HttpWaitMs);
        var request = new Wire.ReadRequest
        {
            Topic = HttpTarget.NameAt(http.Request, Many, 2),
            Partition = (uint)query.Number("partition", 0, 0, uint.MaxValue),
            TopicId = TopicIdOf(query),
            MaxRecords = (uint)query.Number("max", Limits.DefaultHttpReadRecords, 1, Limits.HttpReadRecords),
            Linearizable = query.Text("linearizable") switch
            {
                null or "false" => false,
                "true" => true,
                var other => throw HttpRefusal.Invalid(
                    $"The query parameter linearizable is '{other}'; expected true or false."),
            },
            Follow = wait > 0,
        };
        var bytes = (int)query.Number("max_bytes", Limits.DefaultHttpReadBytes, 1, Limits.HttpReadBytes);
        var types = new Accepted(http.Request, HttpJson.ContentType, CloudEventRecords.BatchType);
        var (start, end) = await StartAsync(http, request, HttpTarget.From(query.Text("from")));
        var page = new RecordPage(start, end, (int)request.MaxRecords, bytes);
        await CollectAsync(http, request, wait, page);
        if (!await _writing.WaitAsync(0, http.RequestAborted))
        {
            throw Refusal.Overloaded("What this node reads by HTTP", ComeBack);
        }

        try
        {
            await WriteAsync(http, request, page, types.Type);
        }
        finally
        {
            _writing.Release();
        }
    }

    private async Task ReadOneAsync(HttpContext http)
    {
        var query = RequestTarget.Query(http.Request, "partition", "topic_id");
        var text = HttpTarget.NameAt(http.Request, One, 4);
        var request = new Wire.ReadRequest
        {
            Topic = HttpTarget.NameAt(http.Request, One, 2),
            Offset = long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var offset)
                ? offset
                : throw HttpRefusal.Invalid($"The address names offset '{text}'; expected a whole number."),
            Partition = (uint)query.Number("partition", 0, 0, uint.MaxValue),
            TopicId = TopicIdOf(query),
            MaxRecords = 1,
        };
        var types = new Accepted(http.Request, "*/*", CloudEventRecords.StructuredType, HttpJson.ContentType);
        var page = new RecordPage(offset, offset, 1, 1);
        await CollectAsync(http, request, waitMs: 0, page);
        if (page.Records is not [var (place, record)] || place.Offset != offset)
        {
            throw Refusal.NotFound(
                $"Topic '{request.Topic}' has no record at offset {offset}, or none any more. The next one that may be "
                + $"there is at {page.NextOffset}.");
        }

        SetPlace(http.Response, request, page, place);
        if (types.Type == "*/*")
        {
            http.Response.ContentType = CloudEventRecords.ContentTypeOf(record) is { } type && IsHeader(type)
                ? type
                : "application/octet-stream";

            // What somebody published must not run as a page of ours.
            http.Response.Headers.XContentTypeOptions = "nosniff";
            http.Response.Headers.ContentSecurityPolicy = "sandbox";
            CloudEventRecords.SetHeaders(http.Response, record);
            await http.Response.Body.WriteAsync(record.Value.Memory, http.RequestAborted);
            return;
        }

        http.Response.ContentType = types.Type;
        await using (var json = new Utf8JsonWriter(http.Response.BodyWriter, HttpJson.Writing))
        {
            Write(json, record, place, types.Type);
        }

        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    /// <summary>
    /// The offset at which it begins, and where the end is: known before the read, so that an answer with nothing says
    /// where to go on without missing anything.
    /// </summary>
    private async Task<(long Start, long End)> StartAsync(HttpContext http, Wire.ReadRequest request, ReadFrom from)
    {
        switch (from.Kind)
        {
            case ReadFromKind.Offset:
                request.Offset = from.Value;
                return (from.Value, from.Value);
            case ReadFromKind.Time:
                request.TimeUnixMs = from.Value;
                break;
            case ReadFromKind.End:
                break;
            default:
                return (0, 0);
        }

        var end = await EndAsync(http, request);
        if (from.Kind == ReadFromKind.End)
        {
            request.Offset = end;
        }

        return (request.StartCase == Wire.ReadRequest.StartOneofCase.TimeUnixMs ? 0 : end, end);
    }

    private async Task<long> EndAsync(HttpContext http, Wire.ReadRequest request)
    {
        try
        {
            var topic = await ContractCalls.AnswerAsync(http, context => admin.DescribeTopic(
                new DescribeTopicRequest { Name = request.Topic, Linearizable = true }, context));
            return request.Partition < topic.Partitions.Count
                ? topic.Partitions[(int)request.Partition].NextOffset
                : 0; // The read itself says that there is no such partition.
        }
        catch (Grpc.Core.RpcException refusal) when (refusal.StatusCode == Grpc.Core.StatusCode.NotFound
            && request.Follow)
        {
            return 0; // Its first record is what is waited for.
        }
    }

    private async Task CollectAsync(HttpContext http, Wire.ReadRequest request, int waitMs, RecordPage page)
    {
        using var patience = HttpTarget.Patience(http, waitMs > 0 ? waitMs : Limits.HttpCallMs);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(patience.Token);
        page.Enough = ended.CancelAsync;
        try
        {
            await broker.Read(request, page, new HttpCallContext(http, ended.Token));
        }
        catch (OperationCanceledException) when (!http.RequestAborted.IsCancellationRequested
            && (page.IsFull || waitMs > 0))
        {
            // It has what it wanted, or the wait is over.
        }
    }

    private static async Task WriteAsync(HttpContext http, Wire.ReadRequest request, RecordPage page, string type)
    {
        http.Response.ContentType = type;
        http.Response.Headers["Broker-Next-Offset"] = page.NextOffset.ToString(CultureInfo.InvariantCulture);
        http.Response.Headers["Broker-End-Offset"] = page.EndOffset.ToString(CultureInfo.InvariantCulture);
        var isJson = type == HttpJson.ContentType;
        await using var json = new Utf8JsonWriter(http.Response.BodyWriter, HttpJson.Writing);
        if (isJson)
        {
            json.WriteStartObject();
            json.WriteString("topic", request.Topic);
            if (page.TopicId != 0)
            {
                json.WriteString("topic_id", page.TopicId.ToString(CultureInfo.InvariantCulture));
            }

            json.WriteNumber("partition", request.Partition);
            json.WriteNumber("next_offset", page.NextOffset);
            json.WriteNumber("end_offset", page.EndOffset);
            json.WritePropertyName("records");
        }

        json.WriteStartArray();
        var sent = 0L;
        foreach (var (place, record) in page.Records)
        {
            Write(json, record, place with { Topic = request.Topic }, type);
            if (json.BytesPending + json.BytesCommitted - sent > FlushBytes)
            {
                // It goes as it is made, and waits for a caller that is slow.
                await json.FlushAsync(http.RequestAborted);
                await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
                sent = json.BytesCommitted;
            }
        }

        json.WriteEndArray();
        if (isJson)
        {
            json.WriteEndObject();
        }

        await json.FlushAsync(http.RequestAborted);
        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    private static void Write(Utf8JsonWriter json, Record record, in RecordPlace place, string type)
    {
        if (type != HttpJson.ContentType)
        {
            CloudEventRecords.Write(json, record, place);
            return;
        }

        json.WriteStartObject();
        json.WriteNumber("partition", place.Partition);
        json.WriteNumber("offset", place.Offset);
        json.WriteNumber("timestamp_unix_ms", place.TimestampUnixMs);
        HttpJson.WriteRecord(json, record);
        json.WriteEndObject();
    }

    private static void SetPlace(
        HttpResponse response, Wire.ReadRequest request, RecordPage page, in RecordPlace place)
    {
        response.Headers["Broker-Offset"] = place.Offset.ToString(CultureInfo.InvariantCulture);
        response.Headers["Broker-Partition"] = request.Partition.ToString(CultureInfo.InvariantCulture);
        response.Headers["Broker-Topic-Id"] = page.TopicId.ToString(CultureInfo.InvariantCulture);
        response.Headers["Broker-Timestamp"] = place.TimestampUnixMs.ToString(CultureInfo.InvariantCulture);
    }

    private static bool IsHeader(string text) =>
        text.Length > 0 && text.All(static letter => letter is >= ' ' and <= '~');

    private static ulong TopicIdOf(RequestQuery query) => query.Text("topic_id") is not { } text ? 0
        : ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var id) ? id
        : throw HttpRefusal.Invalid($"The query parameter topic_id is '{text}'; take it from an answer as it is.");
}
