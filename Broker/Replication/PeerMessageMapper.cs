using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Transport;
using Google.Protobuf;

namespace Broker.Replication;

/// <summary>Between Raft's messages and their form on the wire. Bodies are shared, never copied.</summary>
public static class PeerMessageMapper
{
    /// <summary>A message without entries.</summary>
    public static PeerMessage ToWire(GroupId group, in RaftMessage message) =>
        new()
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
            Lost = message.Lost,
            LearnerSince = message.LearnerSince.Value,
            Led = message.Led,
            Hollow = message.Hollow,
        };

    /// <summary>A message with its entries, which may be shared with other messages: nobody changes them.</summary>
    public static PeerMessage ToWire(GroupId group, in RaftMessage message, List<PeerEntry> entries)
    {
        var wire = ToWire(group, message);
        wire.Entries.Capacity = entries.Count;
        foreach (var entry in entries)
        {
            // AddRange would box the list's enumerator.
            wire.Entries.Add(entry);
        }

        return wire;
    }

    /// <summary>An InstallSnapshot with the members that the group has at the snapshot.</summary>
    public static PeerMessage ToWire(GroupId group, in RaftMessage message, GroupConfiguration configuration)
    {
        var wire = ToWire(group, message);
        wire.ConfigurationIndex = configuration.Index.Value;
        wire.Configuration = UnsafeByteOperations.UnsafeWrap(configuration.Encode());
        return wire;
    }

    /// <summary>Null when the message is not one that this version knows, or an entry was damaged on the way.</summary>
    public static RaftMessage? FromWire(PeerMessage wire, out LogEntry[] entries)
    {
        entries = wire.Entries.Count == 0 ? [] : new LogEntry[wire.Entries.Count];
        for (var i = 0; i < entries.Length; i++)
        {
            var entry = PeerEntries.FromWire(wire.Entries[i]);
            if (entry.Index.Value != wire.LogIndex + 1 + i || !entry.BodyIsIntact())
            {
                return null;
            }

            entries[i] = entry;
        }

        var kind = (RaftMessageKind)wire.Kind;
        if (!Enum.IsDefined(kind) || !TryReadConfigurations(wire, kind, entries, out var configurations))
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
            EntryTerms = TermsOf(entries),
            Configurations = configurations,
            Lost = wire.Lost,
            LearnerSince = new LogIndex(wire.LearnerSince),
            Led = wire.Led,
            Hollow = wire.Hollow,
        };
    }

    /// <summary>Without a list when they are all the same, as they mostly are.</summary>
    private static IReadOnlyList<Term> TermsOf(LogEntry[] entries)
    {
        if (entries.Length == 0)
        {
            return [];
        }

        var first = entries[0].Term;
        foreach (var entry in entries)
        {
            if (entry.Term != first)
            {
                return Array.ConvertAll(entries, static each => each.Term);
            }
        }

        return new RepeatedTerm(first, entries.Length);
    }

    /// <summary>Those among the entries; of a snapshot its one. False when one is not understood.</summary>
    private static bool TryReadConfigurations(
        PeerMessage wire, RaftMessageKind kind, LogEntry[] entries, out IReadOnlyList<GroupConfiguration> found)
    {
        found = [];
        if (kind == RaftMessageKind.InstallSnapshot)
        {
            var isRead = GroupConfiguration.TryDecode(
                wire.Configuration.Span, new LogIndex(wire.ConfigurationIndex), out var configuration);
            found = [configuration];
            return isRead;
        }

        List<GroupConfiguration>? several = null;
        foreach (var entry in entries)
        {
            if (entry.Kind != EntryKind.Configuration)
            {
                continue;
            }

            if (!GroupConfiguration.TryDecode(entry.Body.Span, entry.Index, out var configuration))
            {
                return false;
            }

            (several ??= []).Add(configuration);
        }

        found = several ?? found;
        return true;
    }
}
