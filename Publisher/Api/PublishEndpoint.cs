using System.Buffers;
using System.Globalization;
using System.Text;
using Broker.Protocol.V1;
using Broker.ServiceDefaults.Http;
using Google.Protobuf;
using Microsoft.Extensions.Primitives;
using Publisher.Outbox;

namespace Publisher.Api;

/// <summary>
/// POST /publish/{topic}: the body is the value, header X-Key the key, each X-Header-{name} a header, Idempotency-Key
/// makes a second one a repetition. Query: wait=stored answers before the brokers have acknowledged; ttl_ms, deliver_at
/// or delay_ms, and priority are those of the record. 200 with the offset when the brokers have acknowledged, else 202
/// with the message's address: GET /outbox/{id} tells its state. Example: curl -d hello -H 'X-Key: k'
/// localhost:5000/publish/orders.created
/// </summary>
internal static class PublishEndpoint
{
    private const string KeyHeader = "X-Key";
    private const int MinimumRead = 4096;
    private const string HeaderPrefix = "X-Header-";
    private const string OnceHeader = "Idempotency-Key";

    private static readonly string[] States = ["pending", "committed", "refused"];

    public static void MapPublish(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapPost("/publish/{topic}", PublishAsync);
        endpoints.RefuseOtherMethods("/publish/{topic}", "POST");
        endpoints.MapGet("/outbox/{id}", GetMessageAsync);
        endpoints.RefuseOtherMethods("/outbox/{id}", "GET");
    }

    /// <summary>
    /// How Kestrel is to decode a header. Those that become part of the message have any bytes, and Latin-1 keeps each
    /// as one character.
    /// </summary>
    public static Encoding? EncodingOf(string header) => IsOfMessage(header) ? Encoding.Latin1 : null;

    private static async Task<IResult> PublishAsync(
        HttpContext context, PublishIntake intake, TimeProvider time, IHostApplicationLifetime lifetime)
    {
        var (request, aborted) = (context.Request, context.RequestAborted);
        var once = OnlyOne(request.Headers[OnceHeader], OnceHeader);
        try
        {
            var topic = RequestTarget.LastSegment(request, segments: 2);
            var query = RequestTarget.Query(request, "wait", "ttl_ms", "deliver_at", "delay_ms", "priority");
            var waitForCommit = ReadWait(query.Text("wait"));
            var record = ReadHeaders(request);
            record.TtlMs = (ulong)query.Number("ttl_ms", 0, 0, long.MaxValue);
            record.DeliverAtUnixMs = query.DueUnixMs(time);
            record.Priority = (uint)query.Number("priority", 0, 0, PublisherLimits.MostPriority);
            record.Value = UnsafeByteOperations.UnsafeWrap(await ReadBodyAsync(request, lifetime, aborted));
            var ticket = await intake.SubmitAsync([MessageCheck.Make(topic, record, once)], waitForCommit, aborted);
            return Answer((await intake.AnswerAsync(ticket, null, aborted))[0]);
        }
        catch (PublishException e)
        {
            return PublishStatus.ToHttp(e, context.Response, hasKey: once is not null);
        }
    }

    private static IResult Answer(PublishAnswer answer)
    {
        var published = new Published(
            answer.OutboxId,
            answer.Committed,
            answer.Committed ? answer.Partition : null,
            answer.Offset < 0 ? null : answer.Offset);
        return answer.Committed
            ? TypedResults.Ok(published)
            : TypedResults.Accepted(
                string.Create(CultureInfo.InvariantCulture, $"/outbox/{answer.OutboxId}"), published);
    }

    private static async Task<IResult> GetMessageAsync(HttpContext context, string id, OutboxMessages outbox)
    {
        RequestTarget.Query(context.Request);
        if (!long.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            throw new BadHttpRequestException($"The message's id is '{id}'; expected a whole number.");
        }

        try
        {
            var row = await outbox.GetAsync(number, context.RequestAborted);
            int? partition = row.State == 1 ? row.Partition : null;
            return TypedResults.Ok(
                new Message(row.Id, row.Topic, States[row.State], partition, row.Offset, row.Error));
        }
        catch (PublishException e)
        {
            return PublishStatus.ToHttp(e, context.Response);
        }
    }

    private static bool ReadWait(string? wait) => wait switch
    {
        null or "committed" => true,
        "stored" => false,
        _ => throw new PublishException(
            PublishFailure.Invalid, $"The query parameter wait is '{wait}'; expected 'stored' or 'committed'."),
    };

    private static bool IsOfMessage(string header) => header.Equals(KeyHeader, StringComparison.OrdinalIgnoreCase)
        || header.StartsWith(HeaderPrefix, StringComparison.OrdinalIgnoreCase);

    private static Record ReadHeaders(HttpRequest request)
    {
        var record = new Record();
        if (OnlyOne(request.Headers[KeyHeader], KeyHeader) is { } key)
        {
            record.Key = BytesOf(key);
        }

        foreach (var (name, values) in request.Headers)
        {
            if (name.Length > HeaderPrefix.Length && IsOfMessage(name))
            {
                record.Headers.Add(values.Select(
                    value => new Header { Name = name[HeaderPrefix.Length..], Value = BytesOf(value ?? "") }));
            }
        }

        return record;
    }

    // See EncodingOf.
    private static ByteString BytesOf(string text) =>
        UnsafeByteOperations.UnsafeWrap(Encoding.Latin1.GetBytes(text));

    private static string? OnlyOne(StringValues values, string header) => values.Count <= 1
        ? values.Count == 0 ? null : values.ToString()
        : throw new BadHttpRequestException($"The header {header} comes {values.Count} times; send it once.");

    // The declared length is checked before anything is read, the real one while it is.
    private static async Task<ReadOnlyMemory<byte>> ReadBodyAsync(
        HttpRequest request, IHostApplicationLifetime lifetime, CancellationToken aborted)
    {
        if (request.ContentLength > PublisherLimits.RecordBytes)
        {
            throw TooLarge();
        }

        using var ending = CancellationTokenSource.CreateLinkedTokenSource(aborted, lifetime.ApplicationStopping);
        var body = new ArrayBufferWriter<byte>((int)(request.ContentLength ?? 0) + MinimumRead);
        try
        {
            int read;
            while ((read = await request.Body.ReadAsync(body.GetMemory(MinimumRead), ending.Token)) > 0)
            {
                body.Advance(read);
                if (body.WrittenCount > PublisherLimits.RecordBytes)
                {
                    throw TooLarge();
                }
            }
        }
        catch (OperationCanceledException e) when (!aborted.IsCancellationRequested)
        {
            throw new PublishException(
                PublishFailure.Unavailable, "The publisher stops. Nothing was stored; send again.", e);
        }

        return body.WrittenMemory;
    }

    private static PublishException TooLarge() => new(
        PublishFailure.TooLarge,
        $"The message's value is larger than the limit of {PublisherLimits.RecordBytes:N0} bytes.");

    /// <summary>The answer. Partition and offset are absent while they are not known.</summary>
    internal sealed record Published(long Id, bool Committed, int? Partition, long? Offset);

    /// <summary>A message's state: pending, committed or refused, then with the brokers' reason.</summary>
    internal sealed record Message(
        long Id, string Topic, string State, int? Partition, long? Offset, string? Error);
}
