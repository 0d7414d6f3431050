using System.Buffers;
using Broker.Domain;
using Broker.Replication;

namespace Broker.State;

/// <summary>
/// Names a module's section in a snapshot. The numbers are on disk: never reuse one. Sections stand in their order.
/// </summary>
internal enum StateSection : byte
{
    Topics = 1,
    Cluster = 2,
    GroupProgress = 3,
    Delays = 4,
    Members = 8,
    TopicPolicies = 9,
    ConsumerGroups = 10,
}

/// <summary>
/// One subject of a group's replicated state: some kinds of commands, a section of the group's snapshots, and what the
/// group's leader does by itself. <see cref="ModularStateMachine"/> is made of them. All of it is called by the group's
/// loop thread alone. A module uses nothing but the entries (their times too), so that it is the same on every replica;
/// it may ask another module of its machine, one that stands before it.
/// </summary>
public abstract class StateModule
{
    internal abstract StateSection Section { get; }

    /// <summary>The format of the section that this version writes, from 1.</summary>
    internal abstract byte SectionFormat { get; }

    /// <summary>
    /// False: the state is the initial one, and snapshots have no section of it, which is how it is read.
    /// </summary>
    internal virtual bool HasSection => true;

    /// <summary>When the next duty is due that only waits for its time; long.MaxValue: none is.</summary>
    internal virtual long NextDutyUnixMs => long.MaxValue;

    /// <summary>The kinds that come to <see cref="Apply"/>; no other module of the machine has one of them.</summary>
    internal abstract ReadOnlySpan<CommandKind> Commands { get; }

    /// <summary>
    /// Entries below it hold nothing that this module will read again; see <see cref="IStateMachine.FirstNeeded"/>.
    /// </summary>
    internal virtual LogIndex FirstNeeded => new(long.MaxValue);

    /// <summary>
    /// The log's time has come from one entry's to the next one's, which will be applied now: what expires goes here.
    /// </summary>
    internal virtual void PassTime(long beforeUnixMs, long nowUnixMs)
    {
    }

    /// <summary>
    /// All commands of an entry will be applied now, one by one: what they need may be looked up together. It changes
    /// nothing.
    /// </summary>
    internal virtual void BeginEntry(LogEntry entry)
    {
    }

    /// <summary>
    /// Applies a committed command. It is part of the log whatever this does, so a refusal is a result, never an
    /// exception. The machine adds the result to the state hash; what else a command changes is added here.
    /// </summary>
    internal abstract CommandResult Apply(in ApplyStep step, in Command command);

    /// <summary>All commands of an entry were applied: others may see what they did together.</summary>
    internal virtual void EndEntry()
    {
    }

    /// <summary>Writes the section; the same state gives the same bytes.</summary>
    internal abstract void Write(ref SnapshotWriter writer);

    /// <summary>
    /// Reads a section, and returns what puts it in the place of the state. Until then nothing has changed: another
    /// section of the snapshot may be malformed.
    /// </summary>
    /// <exception cref="InvalidDataException">It is malformed, or of a format that is not known.</exception>
    internal abstract Action Read(ref SnapshotReader reader, byte format, in SnapshotMoment moment);

    /// <summary>Back to the initial state: a snapshot has no section of this module.</summary>
    internal abstract void Clear();

    /// <summary>The whole machine has another state, through <see cref="Read"/> or <see cref="Clear"/>.</summary>
    internal virtual void EndRestore()
    {
    }

    /// <summary>
    /// What the leader should propose by itself now, for instance that something is too old: one command at a time.
    /// False: nothing. It changes nothing; the command does when it comes back through the log. Any other command may
    /// be applied before it.
    /// </summary>
    internal virtual bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command) => false;
}

/// <summary>
/// The part of a module whose things are found by index files of sealed segments. One module of a machine may have it.
/// </summary>
internal interface IIndexedModule
{
    /// <inheritdoc cref="IStateMachine.TryWriteIndex"/>
    bool TryWriteIndex(LogIndex first, LogIndex last, IBufferWriter<byte> directory, IBufferWriter<byte> body);

    /// <inheritdoc cref="IStateMachine.UseIndex"/>
    void UseIndex(LogIndex first, LogIndex last, ReadOnlyMemory<byte> directory);

    /// <inheritdoc cref="IStateMachine.DropIndexes"/>
    void DropIndexes(LogIndex through);

    /// <inheritdoc cref="IStateMachine.LookForThinning"/>
    ILogThinning? LookForThinning();

    /// <inheritdoc cref="IStateMachine.MakeHollower"/>
    IEntryThinner MakeHollower(LogIndex first, LogIndex last);
}

/// <summary>The entry that is being applied, and the hash of what it does.</summary>
internal readonly ref struct ApplyStep(LogEntry entry, ref StateHasher hash)
{
    private readonly ref StateHasher _hash = ref hash;

    public LogEntry Entry { get; } = entry;

    public ref StateHasher Hash => ref _hash;
}

/// <param name="Index">The last entry that a snapshot covers.</param>
/// <param name="TimestampUnixMs">Its time.</param>
internal readonly record struct SnapshotMoment(LogIndex Index, long TimestampUnixMs);
