using System.Buffers;
using Broker.Protocol.V1;
using Google.Protobuf;
using Publisher.Outbox;

namespace Publisher.Api;

/// <summary>
/// POST /publish/{topic}: the body is the value, header X-Key the key, each X-Header-{name} a header; query wait=stored
/// answers before the brokers have acknowledged. Example: curl -d hello -H 'X-Key: k'
/// localhost:5000/publish/orders.created
/// </summary>
internal static class PublishEndpoint
{
    private const string KeyHeader = "X-Key";
    private const int MinimumRead = 4096;
    private const string HeaderPrefix = "X-Header-";

    public static void MapPublish(this IEndpointRouteBuilder endpoints) =>
        endpoints.MapPost("/publish/{topic}", PublishAsync);

    private static async Task<IResult> PublishAsync(
        string topic, string? wait, HttpRequest request, PublishIntake intake, CancellationToken cancellationToken)
    {
        try
        {
            var waitForCommit = ReadWait(wait);
            var record = ReadHeaders(request);
            record.Value = UnsafeByteOperations.UnsafeWrap(await ReadBodyAsync(request, cancellationToken));
            var ticket = await intake.SubmitAsync([MessageCheck.Make(topic, record)], waitForCommit, cancellationToken);
            var answer = (await intake.AnswerAsync(ticket, cancellationToken))[0];
            return TypedResults.Ok(new Published(
                answer.OutboxId, answer.Committed, answer.Offset < 0 ? null : answer.Offset));
        }
        catch (PublishException e)
        {
            return PublishStatus.ToHttp(e);
        }
    }

    private static bool ReadWait(string? wait) => wait switch
    {
        null or "" or "committed" => true,
        "stored" => false,
        _ => throw new PublishException(
            PublishFailure.Invalid, $"The query parameter wait is '{wait}'; expected 'stored' or 'committed'."),
    };

    private static Record ReadHeaders(HttpRequest request)
    {
        var record = new Record();
        foreach (var (name, values) in request.Headers)
        {
            if (name.Equals(KeyHeader, StringComparison.OrdinalIgnoreCase))
            {
                record.Key = ByteString.CopyFromUtf8(values.ToString());
            }
            else if (
                name.StartsWith(HeaderPrefix, StringComparison.OrdinalIgnoreCase) && name.Length > HeaderPrefix.Length)
            {
                record.Headers.Add(new Header
                {
                    Name = name[HeaderPrefix.Length..],
                    Value = ByteString.CopyFromUtf8(values.ToString()),
                });
            }
        }

        return record;
    }

    // The declared length is checked before anything is read, the real one while it is.
    private static async Task<ReadOnlyMemory<byte>> ReadBodyAsync(
        HttpRequest request, CancellationToken cancellationToken)
    {
        if (request.ContentLength > PublisherLimits.RecordBytes)
        {
            throw TooLarge();
        }

        var body = new ArrayBufferWriter<byte>((int)(request.ContentLength ?? 0) + MinimumRead);
        int read;
        while ((read = await request.Body.ReadAsync(body.GetMemory(MinimumRead), cancellationToken)) > 0)
        {
            body.Advance(read);
            if (body.WrittenCount > PublisherLimits.RecordBytes)
            {
                throw TooLarge();
            }
        }

        return body.WrittenMemory;
    }

    private static PublishException TooLarge() => new(
        PublishFailure.TooLarge,
        $"The message's value is larger than the limit of {PublisherLimits.RecordBytes:N0} bytes.");

    /// <summary>The answer. Offset is absent while it is not known.</summary>
    internal sealed record Published(long Id, bool Committed, long? Offset);
}
