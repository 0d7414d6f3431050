using System.Buffers;
using Broker.Diagnostics;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// A group's replicated state: the same entries in the same order give the same state on every replica. All of it is
/// called by the group's loop thread alone, except what says otherwise.
/// </summary>
public interface IStateMachine
{
    /// <summary>
    /// A hash of the whole state, equal on every replica at the same applied index (used by simulation and tests). A
    /// snapshot carries it on.
    /// </summary>
    ulong StateHash { get; }

    /// <summary>
    /// Entries below it hold nothing that is wanted; LogIndex(long.MaxValue) when nothing that was applied is. What is
    /// not applied yet lies above, whatever this says. Exact to a sealed segment, so that it may go down within one.
    /// </summary>
    LogIndex FirstNeeded { get; }

    /// <summary>
    /// The time of the last applied entry of commands; 0 before the first. A snapshot carries it on. Any thread.
    /// </summary>
    long LastTimestampUnixMs { get; }

    /// <summary>
    /// Whether it wants an index file for each sealed segment; without, <see cref="TryWriteIndex"/> is never asked.
    /// </summary>
    bool KeepsIndexes { get; }

    /// <summary>
    /// Somebody waits for what is applied next, so a follower wants to hear at once of what has committed. Any thread.
    /// </summary>
    bool IsAwaited { get; }

    /// <summary>
    /// Applies one committed entry of kind Commands. <paramref name="results"/> has entry.Count slots when a caller
    /// waits for them, or is empty (then results are not wanted). Called in log order, each index once; after <see
    /// cref="Restore"/> with the entries that follow the snapshot.
    /// </summary>
    void Apply(LogEntry entry, Span<CommandResult> results);

    /// <summary>
    /// The traces that the publishes in an entry belong to, for who watches; nothing in the state follows from them.
    /// Returns how many it has put there, at most Limits.TracedPublishesPerEntry.
    /// </summary>
    int FindTraces(LogEntry entry, Span<TracedPublish> into) => 0;

    /// <summary>
    /// Asked now and then on the leader: a command that it should propose by itself, because time has passed; false:
    /// nothing is due. The next question comes when that command was applied.
    /// </summary>
    bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command) => false;

    /// <summary>
    /// When the leader is to ask for a duty that only waits for its time, by its clock, so that it need not wait for
    /// the next question; long.MaxValue: for none.
    /// </summary>
    long NextDutyUnixMs => long.MaxValue;

    /// <summary>Writes the state after the last applied entry; the same state gives the same bytes.</summary>
    void WriteSnapshot(IBufferWriter<byte> into);

    /// <summary>
    /// Replaces the state by that of a snapshot. An empty span is the initial state. What it throws leaves the state as
    /// it was.
    /// </summary>
    /// <exception cref="InvalidDataException">The snapshot is malformed, or of a format that is not known.</exception>
    void Restore(ReadOnlySpan<byte> snapshot);

    /// <summary>
    /// Writes where the things of a sealed and wholly applied segment are, for its index file. False: this machine
    /// keeps no index, or its memory does not hold that segment any more (<see cref="UseIndex"/> was called for it, or
    /// a snapshot after it was restored). Of a segment within which a snapshot was restored it writes the rest. Any
    /// thread, while neither of those two runs.
    /// </summary>
    bool TryWriteIndex(LogIndex first, LogIndex last, IBufferWriter<byte> directory, IBufferWriter<byte> body);

    /// <summary>
    /// The segment's index file is durable: look there, and forget what memory holds of it. Called in the order of
    /// segments, after what they hold was applied or restored.
    /// </summary>
    /// <exception cref="InvalidDataException">
    /// The directory is malformed, or does not belong to this state. Nothing has changed then.
    /// </exception>
    void UseIndex(LogIndex first, LogIndex last, ReadOnlyMemory<byte> directory);

    /// <summary>
    /// A machine of the same kind and bounds in its initial state, which tells nobody what it applies: on it an index
    /// file that was damaged is made anew.
    /// </summary>
    IStateMachine MakeShadow();

    /// <summary>
    /// What of the segments whose index files are in use now is still wanted; null: this machine cannot tell.
    /// </summary>
    ILogThinning? LookForThinning() => null;

    /// <summary>
    /// Takes out of the entries of a sealed segment all that readers get, as other replicas keep it; null: there is
    /// nothing of the kind. Applied, such an entry gives the same results and the same state. For one background
    /// thread.
    /// </summary>
    IEntryThinner? MakeHollower(LogIndex first, LogIndex last) => null;

    /// <summary>The log was dropped through here, with its index files.</summary>
    void DropIndexes(LogIndex through);
}
