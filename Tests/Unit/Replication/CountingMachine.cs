using System.Buffers;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Replication;
using Broker.Tests.Unit.Storage;
using Broker.Topics;

namespace Broker.Tests.Unit.Replication;

/// <summary>The real machine of a data shard, which counts what it is asked.</summary>
internal sealed class CountingMachine(TopicStateMachine topics) : IStateMachine, IEntryThinner
{
    public TopicStateMachine Topics => topics;

    public int Applied { get; private set; }

    public int Restored { get; private set; }

    public int IndexesWritten { get; private set; }

    public ulong StateHash => topics.StateHash;

    public LogIndex FirstNeeded => topics.FirstNeeded;

    public long LastTimestampUnixMs => topics.LastTimestampUnixMs;

    /// <summary>As if somebody read at the end of a topic here.</summary>
    public bool IsAwaited { get; set; }

    public bool CanBeHollow { get; set; }

    /// <summary>What is hollow can be applied as it was.</summary>
    public bool IsHollowInNameAlone { get; set; }

    public bool KeepsIndexes => topics.KeepsIndexes;

    public void Apply(LogEntry entry, Span<CommandResult> results)
    {
        Applied++;
        topics.Apply(entry, results);
    }

    public int FindTraces(LogEntry entry, Span<TracedPublish> into) => topics.FindTraces(entry, into);

    public void WriteSnapshot(IBufferWriter<byte> into) => topics.WriteSnapshot(into);

    public void Restore(ReadOnlySpan<byte> snapshot)
    {
        Restored += snapshot.IsEmpty ? 0 : 1;
        topics.Restore(snapshot);
    }

    public bool TryWriteIndex(
        LogIndex first, LogIndex last, IBufferWriter<byte> directory, IBufferWriter<byte> body)
    {
        IndexesWritten++;
        return topics.TryWriteIndex(first, last, directory, body);
    }

    public void UseIndex(LogIndex first, LogIndex last, ReadOnlyMemory<byte> directory) =>
        topics.UseIndex(first, last, directory);

    public long NextDutyUnixMs => topics.NextDutyUnixMs;

    public bool TryWriteDuty(long nowUnixMs, IBufferWriter<byte> command) => topics.TryWriteDuty(nowUnixMs, command);

    public IStateMachine MakeShadow() => topics.MakeShadow();

    public IEntryThinner? MakeHollower(LogIndex first, LogIndex last) => CanBeHollow ? this : null;

    /// <summary>The tests' batches are none, so they cannot be taken out one by one.</summary>
    public LogEntry Thin(LogEntry entry) => IsHollowInNameAlone ? entry : LogFixture.Less(entry);

    public void DropIndexes(LogIndex through) => topics.DropIndexes(through);
}
