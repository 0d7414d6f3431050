using System.Text;
using System.Text.Json;
using Google.Protobuf;

namespace Broker.Client;

/// <summary>Turns what a program works with into the bytes of a message, and back.</summary>
public interface IMessageSerializer
{
    /// <summary>The bytes of a value.</summary>
    /// <param name="value">Not null.</param>
    /// <typeparam name="T">As what it is written.</typeparam>
    /// <returns>The bytes, and what they are, for the header "content-type".</returns>
    /// <exception cref="NotSupportedException">Such a value cannot be written.</exception>
    MessageBody Serialize<T>(T value);

    /// <summary>The value that bytes stand for.</summary>
    /// <param name="bytes">A message's value. They are valid during the call alone.</param>
    /// <typeparam name="T">What it is to be.</typeparam>
    /// <returns>The value; not null.</returns>
    /// <exception cref="FormatException">They stand for no such value; the message says why.</exception>
    T Deserialize<T>(ReadOnlyMemory<byte> bytes);
}

/// <summary>A value as bytes.</summary>
/// <param name="Value">The bytes.</param>
/// <param name="ContentType">A media type (RFC 9110, section 8.3.1), e.g. "application/json".</param>
public readonly record struct MessageBody(ReadOnlyMemory<byte> Value, string ContentType);

/// <summary>
/// What the client uses when nothing else is said: bytes as they are, texts as UTF-8, messages of protobuf in their own
/// form, and everything else as JSON.
/// </summary>
/// <param name="json">
/// For JSON: e.g. with the resolver of a source-generated context. Null: System.Text.Json's defaults for the web
/// (camelCase, names read in any case).
/// </param>
public sealed class MessageSerializer(JsonSerializerOptions? json = null) : IMessageSerializer
{
    /// <summary>The name of the header that says what a message's bytes are.</summary>
    public const string ContentTypeHeader = "content-type";

    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    private readonly JsonSerializerOptions _json = json ?? JsonSerializerOptions.Web;

    /// <summary>One with the defaults.</summary>
    public static MessageSerializer Default { get; } = new();

    /// <inheritdoc/>
    public MessageBody Serialize<T>(T value)
    {
        ArgumentNullException.ThrowIfNull(value);
        return value switch
        {
            byte[] bytes => new(bytes, "application/octet-stream"),
            ReadOnlyMemory<byte> bytes => new(bytes, "application/octet-stream"),
            string text => new(Strict.GetBytes(text), "text/plain; charset=utf-8"),
            IMessage message => new(message.ToByteArray(), "application/x-protobuf"),
            _ => new(JsonSerializer.SerializeToUtf8Bytes(value, _json), "application/json"),
        };
    }

    /// <inheritdoc/>
    public T Deserialize<T>(ReadOnlyMemory<byte> bytes)
    {
        try
        {
            return typeof(T) switch
            {
                var type when type == typeof(byte[]) => (T)(object)bytes.ToArray(),
                var type when type == typeof(ReadOnlyMemory<byte>) => (T)(object)(ReadOnlyMemory<byte>)bytes.ToArray(),
                var type when type == typeof(string) => (T)(object)Strict.GetString(bytes.Span),
                var type when typeof(IMessage).IsAssignableFrom(type) => Parse<T>(bytes),
                _ => JsonSerializer.Deserialize<T>(bytes.Span, _json)
                    ?? throw new FormatException($"The JSON null is no {typeof(T).Name}."),
            };
        }
        catch (Exception malformed) when (
            malformed is JsonException or DecoderFallbackException or InvalidProtocolBufferException)
        {
            throw new FormatException($"The message is no {typeof(T).Name}: {malformed.Message}", malformed);
        }
    }

    private static T Parse<T>(ReadOnlyMemory<byte> bytes)
    {
        var message = Activator.CreateInstance<T>();
        ((IMessage)message!).MergeFrom(bytes.Span);
        return message;
    }
}
