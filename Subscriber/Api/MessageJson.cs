using System.Text;
using Broker.Protocol.V1;
using Subscriber.Inbox;

namespace Subscriber.Api;

/// <summary>A header in JSON; text is absent when the value is not UTF-8.</summary>
internal sealed record HeaderJson(string Name, byte[] Value, string? Text);

/// <summary>A message in JSON: bytes as base64, and beside them as text where they are UTF-8.</summary>
internal sealed record MessageJson(
    long Id,
    string Topic,
    int Partition,
    long Offset,
    DateTimeOffset Timestamp,
    byte[]? Key,
    string? KeyText,
    byte[] Value,
    string? Text,
    IReadOnlyList<HeaderJson> Headers)
{
    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    public static MessageJson Of(InboxMessage message) => new(
        message.InboxId,
        message.Topic,
        message.Partition,
        message.Offset,
        DateTimeOffset.FromUnixTimeMilliseconds(message.TimestampUnixMs),
        message.Key,
        message.Key is null ? null : TextOf(message.Key),
        message.Value,
        TextOf(message.Value),
        HeadersOf(message.Headers));

    private static List<HeaderJson> HeadersOf(byte[]? encoded) => encoded is null
        ? []
        : Record.Parser.ParseFrom(encoded).Headers
            .Select(
                header => new HeaderJson(header.Name, header.Value.ToByteArray(), TextOf(header.Value.ToByteArray())))
            .ToList();

    private static string? TextOf(byte[] bytes) =>
        System.Text.Unicode.Utf8.IsValid(bytes) ? Strict.GetString(bytes) : null;
}
