using Broker.Diagnostics;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// The spans of the traced publishes in an entry, on leader and follower: append (until it is flushed here), quorum
/// (the leader's, until a majority has it), apply. They are told when the entry is applied, with the times of then.
/// When nobody listens, or an entry has no trace, there is nothing to do and nothing is allocated.
/// </summary>
internal sealed class EntryTraces(GroupId group, IStateMachine machine, TimeProvider time)
{
    private readonly List<EntryTrace> _traces = [];
    private readonly TracedPublish[] _found = new TracedPublish[Limits.TracedPublishesPerEntry];

    /// <summary>An entry is on its way to the disk.</summary>
    public void Appended(LogEntry entry, bool isLeader)
    {
        if (!BrokerSpans.IsOn || entry.Kind != EntryKind.Commands || _traces.Count == Limits.TracedEntriesPerGroup)
        {
            return;
        }

        var found = machine.FindTraces(entry, _found);
        if (found > 0)
        {
            _traces.Add(new EntryTrace(entry.Index, entry.Term, _found[..found], isLeader, time.GetUtcNow()));
        }
    }

    public void TruncateFrom(LogIndex from)
    {
        if (_traces.Count > 0)
        {
            _traces.RemoveAll(trace => trace.Index >= from);
        }
    }

    /// <summary>This replica has made durable what lies up to here.</summary>
    public void Flushed(LogIndex through)
    {
        foreach (var trace in _traces)
        {
            if (trace.Index <= through)
            {
                trace.FlushedAt ??= time.GetUtcNow();
            }
        }
    }

    /// <summary>Before the entry is applied: its trace, if it has one. What stands before it is over.</summary>
    public EntryTrace? Take(LogEntry entry)
    {
        while (_traces.Count > 0 && _traces[0].Index <= entry.Index)
        {
            var trace = _traces[0];
            _traces.RemoveAt(0);
            if (trace.Index == entry.Index && trace.Term == entry.Term)
            {
                trace.CommittedAt = time.GetUtcNow();
                return trace;
            }
        }

        return null;
    }

    /// <summary>The entry is applied: its spans are told.</summary>
    public void Applied(EntryTrace trace)
    {
        var appliedAt = time.GetUtcNow();
        foreach (ref readonly var publish in trace.Publishes.AsSpan())
        {
            Record("append", publish, trace.AppendedAt, trace.FlushedAt ?? trace.CommittedAt);
            if (trace.IsLeader)
            {
                Record("quorum", publish, trace.AppendedAt, trace.CommittedAt);
            }

            Record("apply", publish, trace.CommittedAt, appliedAt);
        }

        void Record(string operation, in TracedPublish publish, DateTimeOffset from, DateTimeOffset to) =>
            BrokerSpans.Record(operation, publish, from, to, group, trace.Index, trace.IsLeader);
    }

    internal sealed record EntryTrace(
        LogIndex Index, Term Term, TracedPublish[] Publishes, bool IsLeader, DateTimeOffset AppendedAt)
    {
        public DateTimeOffset? FlushedAt { get; set; }

        public DateTimeOffset CommittedAt { get; set; }
    }
}
