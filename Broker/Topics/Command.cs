namespace Broker.Topics;

/// <summary>One command as it stands in an entry's body.</summary>
public readonly ref struct Command(CommandKind kind, int payloadPosition, ReadOnlySpan<byte> payload)
{
    public CommandKind Kind { get; } = kind;

    /// <summary>Where the payload begins within the entry's body.</summary>
    public int PayloadPosition { get; } = payloadPosition;

    public ReadOnlySpan<byte> Payload { get; } = payload;
}
