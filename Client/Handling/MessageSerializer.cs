using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
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
    T Deserialize<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T>(
        ReadOnlyMemory<byte> bytes);
}

/// <summary>A value as bytes.</summary>
/// <param name="Value">The bytes.</param>
/// <param name="ContentType">A media type (RFC 9110, section 8.3.1), e.g. "application/json".</param>
public readonly record struct MessageBody(ReadOnlyMemory<byte> Value, string ContentType);

/// <summary>
/// What the client uses when nothing else is said: bytes as they are, texts as UTF-8, messages of protobuf in their own
/// form, and everything else as JSON. A program that is trimmed or compiled ahead of time gives it the context that
/// System.Text.Json has generated for its types.
/// </summary>
public sealed class MessageSerializer : IMessageSerializer
{
    /// <summary>The name of the header that says what a message's bytes are.</summary>
    public const string ContentTypeHeader = "content-type";

    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    private readonly JsonSerializerOptions _json;

    /// <summary>One for JSON as these options say.</summary>
    /// <param name="json">
    /// Null: System.Text.Json's defaults for the web (camelCase, names read in any case). Without a TypeInfoResolver
    /// types are looked at by reflection, which programs that are trimmed or compiled ahead of time do not have.
    /// </param>
    public MessageSerializer(JsonSerializerOptions? json = null) =>
        _json = json is { TypeInfoResolver: not null } ? json : WithReflection(json);

    /// <summary>One for JSON by generated code, without reflection.</summary>
    /// <param name="types">
    /// What knows the types: the Default of a <see cref="System.Text.Json.Serialization.JsonSerializerContext"/>, or
    /// several that JsonTypeInfoResolver.Combine has made one. Of a context its options count; of anything else,
    /// System.Text.Json's defaults for the web.
    /// </param>
    public MessageSerializer(IJsonTypeInfoResolver types)
    {
        ArgumentNullException.ThrowIfNull(types);
        _json = types is System.Text.Json.Serialization.JsonSerializerContext context
            ? context.Options
            : new JsonSerializerOptions(JsonSerializerDefaults.Web) { TypeInfoResolver = types };
    }

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
            _ => new(JsonSerializer.SerializeToUtf8Bytes(value, TypeInfo<T>()), "application/json"),
        };
    }

    /// <inheritdoc/>
    public T Deserialize<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T>(
        ReadOnlyMemory<byte> bytes)
    {
        try
        {
            return typeof(T) switch
            {
                var type when type == typeof(byte[]) => (T)(object)bytes.ToArray(),
                var type when type == typeof(ReadOnlyMemory<byte>) => (T)(object)(ReadOnlyMemory<byte>)bytes.ToArray(),
                var type when type == typeof(string) => (T)(object)Strict.GetString(bytes.Span),
                var type when typeof(IMessage).IsAssignableFrom(type) => Parse<T>(bytes),
                _ => JsonSerializer.Deserialize(bytes.Span, TypeInfo<T>())
                    ?? throw new FormatException($"The JSON null is no {typeof(T).Name}."),
            };
        }
        catch (Exception malformed) when (
            malformed is JsonException or DecoderFallbackException or InvalidProtocolBufferException)
        {
            throw new FormatException($"The message is no {typeof(T).Name}: {malformed.Message}", malformed);
        }
    }

    private JsonTypeInfo<T> TypeInfo<T>() => (JsonTypeInfo<T>)_json.GetTypeInfo(typeof(T));

    [UnconditionalSuppressMessage(
        "Trimming", "IL2026", Justification = "Trimmed programs have no reflection, and then it is not used here.")]
    [UnconditionalSuppressMessage(
        "AOT", "IL3050", Justification = "Likewise of programs that are compiled ahead of time.")]
    private static JsonSerializerOptions WithReflection(JsonSerializerOptions? json) => new(
        json ?? new JsonSerializerOptions(JsonSerializerDefaults.Web))
    {
        TypeInfoResolver = JsonSerializer.IsReflectionEnabledByDefault
            ? new DefaultJsonTypeInfoResolver()
            : JsonTypeInfoResolver.Combine(),
    };

    private static T Parse<[DynamicallyAccessedMembers(
        DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T>(ReadOnlyMemory<byte> bytes)
    {
        var message = Activator.CreateInstance<T>();
        ((IMessage)message!).MergeFrom(bytes.Span);
        return message;
    }
}
