namespace Broker.Client;

/// <summary>
/// One message to publish. It is read during the call and may be changed or reused when the call has returned its task.
/// </summary>
public sealed record BrokerMessage
{
    /// <summary>Optional key, at most 8 KiB. Default: empty.</summary>
    public ReadOnlyMemory<byte> Key { get; init; }

    /// <summary>The payload, at most 1 MiB. Default: empty.</summary>
    public ReadOnlyMemory<byte> Value { get; init; }

    /// <summary>
    /// At most 64 headers, each at most 8 KiB of name and value together. A name may occur twice. Default: none.
    /// </summary>
    public IReadOnlyList<KeyValuePair<string, ReadOnlyMemory<byte>>>? Headers { get; init; }
}
