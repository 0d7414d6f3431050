using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Transport;

namespace Broker.Replication;

/// <summary>Between Raft's messages and their form on the wire. Bodies are shared, never copied.</summary>
public static class PeerMessageMapper
{
    public static PeerMessage ToWire(GroupId group, RaftMessage message, IReadOnlyList<LogEntry> entries)
    {
        var wire = new PeerMessage
        {
            Group = (uint)group.Value,
            Kind = (uint)message.Kind,
            From = (uint)message.From.Value,
            To = (uint)message.To.Value,
            Term = message.Term.Value,
            LogIndex = message.LogIndex.Value,
            LogTerm = message.LogTerm.Value,
            CommitIndex = message.CommitIndex.Value,
            Reject = message.Reject,
            RejectHint = message.RejectHint.Value,
            Force = message.Force,
            Context = message.Context,
        };
        for (var i = 0; i < entries.Count; i++)
        {
            wire.Entries.Add(PeerEntries.ToWire(entries[i]));
        }

        return wire;
    }

    /// <summary>Null when the message is not one that this version knows, or an entry was damaged on the way.</summary>
    public static RaftMessage? FromWire(PeerMessage wire, out LogEntry[] entries)
    {
        entries = wire.Entries.Count == 0 ? [] : new LogEntry[wire.Entries.Count];
        var terms = wire.Entries.Count == 0 ? [] : new Term[wire.Entries.Count];
        for (var i = 0; i < entries.Length; i++)
        {
            var entry = PeerEntries.FromWire(wire.Entries[i]);
            if (entry.Index.Value != wire.LogIndex + 1 + i || !entry.BodyIsIntact())
            {
                return null;
            }

            entries[i] = entry;
            terms[i] = entry.Term;
        }

        var kind = (RaftMessageKind)wire.Kind;
        if (!Enum.IsDefined(kind))
        {
            return null;
        }

        return new RaftMessage
        {
            Kind = kind,
            From = new NodeId((int)wire.From),
            To = new NodeId((int)wire.To),
            Term = new Term(wire.Term),
            LogIndex = new LogIndex(wire.LogIndex),
            LogTerm = new Term(wire.LogTerm),
            CommitIndex = new LogIndex(wire.CommitIndex),
            Reject = wire.Reject,
            RejectHint = new LogIndex(wire.RejectHint),
            Force = wire.Force,
            Context = wire.Context,
            EntryCount = entries.Length,
            EntryTerms = terms,
        };
    }
}
