using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// The payload of the command that stores several batches of one shard, or none: publish commands, one after the other,
/// each as it would stand in an entry by itself (<see cref="TopicCommands"/>). An unstamped publish of one empty record
/// to each of the topics "a" and "b":
/// <code>
/// 43 00 00 00 | 09 | 1D 00 00 00 | 01 | 01 61 ... 0A 00 | 1D 00 00 00 | 01 | 01 62 ... 0A 00
/// </code>
/// In a thinned body all parts are in their thinned form.
/// <para>
/// What is stored only when records are finished for consumer groups (<see cref="CommandKind.PublishAndSettle"/>) looks
/// the same, but that commands of <see cref="CommandKind.SettleRecords"/> stand before the publishes.
/// </para>
/// </summary>
internal static class AtomicCommands
{
    /// <summary>Whether a command has parts.</summary>
    public static bool IsAtomic(CommandKind kind) => kind is CommandKind.PublishAtomic or CommandKind.PublishAndSettle;

    /// <summary>Begins a command of parts that have so many bytes with their headers; returns what it wrote.</summary>
    public static int WriteHeader(Span<byte> into, CommandKind kind, int partsBytes)
    {
        var writer = new PayloadWriter(into);
        writer.PutHeader(kind, partsBytes);
        return writer.Written;
    }

    /// <summary>The publishes, in order, as commands of the entry's body.</summary>
    public static AtomicParts Parts(in Command command) => new(command, isSettling: false);

    /// <summary>What is finished with them, in order.</summary>
    public static AtomicParts Settling(in Command command) => new(command, isSettling: true);
}

/// <summary>For <c>foreach</c>; allocates nothing.</summary>
internal ref struct AtomicParts(Command command, bool isSettling)
{
    private readonly int _position = command.PayloadPosition;
    private CommandSequence _parts = new(command.Payload);

    public readonly Command Current
    {
        get
        {
            var part = _parts.Current;
            Invariant.Check(
                isSettling || TopicCommands.IsPublish(part.Kind), "what is stored together are publishes");
            return new Command(part.Kind, _position + part.PayloadPosition, part.Payload, part.IsThinned);
        }
    }

    public readonly AtomicParts GetEnumerator() => this;

    public bool MoveNext()
    {
        while (_parts.MoveNext())
        {
            if (isSettling == (_parts.Current.Kind == CommandKind.SettleRecords))
            {
                return true;
            }
        }

        return false;
    }
}
