using System.Text;
using Broker.Client;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Topics;

/// <summary>
/// The state of group 0: the cluster's id, its nodes, its live subscriptions. Everything follows from the committed
/// entries. One thread applies; others read <see cref="Current"/>, a picture that never changes under them.
/// </summary>
public sealed partial class MetadataStateMachine(Action<ClusterMetadata>? changed = null) : IStateMachine
{
    private ClusterMetadata _current = ClusterMetadata.Empty;
    private LogIndex _lastApplied;
    private StateHasher _hash;

    /// <summary>The state after the last applied entry.</summary>
    public ClusterMetadata Current => Volatile.Read(ref _current);

    public ulong StateHash => _hash.Value;

    /// <summary>
    /// Applies an entry; afterwards calls the constructor's <c>changed</c>, once and only when something is different,
    /// on this thread: it must not block and must not throw.
    /// </summary>
    public void Apply(LogEntry entry, Span<CommandResult> results)
    {
        Invariant.Check(entry.Kind == EntryKind.Commands, "only entries of commands are applied");
        Invariant.Check(entry.Index > _lastApplied, "entries are applied in log order, each once");
        Invariant.Check(results.IsEmpty || results.Length >= entry.Count, "there is a result slot for every command");
        _lastApplied = entry.Index;

        var state = _current;
        var ordinal = 0;
        foreach (var command in CommandCodec.Read(entry.Body))
        {
            var result = ApplyCommand(command, ref state);
            result.TimestampUnixMs = entry.TimestampUnixMs;
            _hash.Add(((ulong)result.Code << 1) | (result.Duplicate ? 1UL : 0UL));
            Invariant.Check(ordinal < entry.Count, "an entry has as many commands as its header says");
            if (!results.IsEmpty)
            {
                results[ordinal] = result;
            }

            ordinal++;
        }

        Invariant.Check(ordinal == entry.Count, "an entry has as many commands as its header says");
        if (!ReferenceEquals(state, _current))
        {
            Volatile.Write(ref _current, state);
            changed?.Invoke(state);
        }
    }

    private CommandResult ApplyCommand(Command command, ref ClusterMetadata state)
    {
        _hash.Add((ulong)command.Kind);
        switch (command.Kind)
        {
            case CommandKind.ClusterCreated:
                return CreateCluster(CommandCodec.ReadClusterCreated(command), ref state);
            case CommandKind.NodeRegistered:
                return RegisterNode(CommandCodec.ReadNodeRegistered(command), ref state);
            case CommandKind.NodeReplaced:
                return ReplaceNode(CommandCodec.ReadNodeRegistered(command), ref state);
            case CommandKind.PutLiveSubscription:
                return PutSubscription(CommandCodec.ReadPutLiveSubscription(command), ref state);
            case CommandKind.DeleteLiveSubscription:
                return DeleteSubscription(CommandCodec.ReadDeleteLiveSubscription(command), ref state);
            default:
                Invariant.Check(false, "the metadata group holds metadata commands");
                return default;
        }
    }

    // Two leaders in a row may both have proposed an id: the first in the log is the cluster's, on every replica.
    private CommandResult CreateCluster(Guid id, ref ClusterMetadata state)
    {
        _hash.Add(id);
        if (state.ClusterId is not null)
        {
            return new CommandResult { Duplicate = true };
        }

        state = state with { ClusterId = id };
        return default;
    }

    // A node number stands for a disk: one that comes back with another disk has forgotten its votes and its log, and
    // must not pass for the old one (Raft thesis 11.7.2 counts on stable storage).
    private CommandResult RegisterNode(NodeRegistration node, ref ClusterMetadata state)
    {
        _hash.Add(node.Id.Value);
        _hash.Add(node.Name);
        _hash.Add(node.StoreId);
        if (node.Id.Value <= 0 || !IsName(node.Name))
        {
            return new CommandResult { Code = RefusalCode.InvalidArgument };
        }

        if (state.FindNode(node.Id) is { } known)
        {
            if (known == node)
            {
                return new CommandResult { Duplicate = true };
            }

            if (known.StoreId != node.StoreId)
            {
                return new CommandResult { Code = RefusalCode.FailedPrecondition };
            }
        }
        else if (state.Nodes.Count >= Limits.ClusterNodes)
        {
            return new CommandResult { Code = RefusalCode.ResourceExhausted };
        }

        state = state with { Nodes = state.Nodes.SetItem(node.Id.Value, node) };
        return default;
    }

    // The operator vouches that the old disk is gone: from here on it is refused, wherever it turns up.
    private CommandResult ReplaceNode(NodeRegistration node, ref ClusterMetadata state)
    {
        _hash.Add(node.Id.Value);
        _hash.Add(node.Name);
        _hash.Add(node.StoreId);
        if (state.FindNode(node.Id) is not { } known)
        {
            return new CommandResult { Code = RefusalCode.NotFound };
        }

        if (known.StoreId == node.StoreId)
        {
            return new CommandResult { Duplicate = true };
        }

        if (known.Name != node.Name || state.RetiredStores.Contains(node.StoreId))
        {
            return new CommandResult { Code = RefusalCode.FailedPrecondition };
        }

        if (state.RetiredStores.Count >= Limits.RetiredStores)
        {
            return new CommandResult { Code = RefusalCode.ResourceExhausted };
        }

        state = state with
        {
            Nodes = state.Nodes.SetItem(node.Id.Value, node),
            RetiredStores = state.RetiredStores.Add(known.StoreId),
        };
        return default;
    }

    private CommandResult PutSubscription(LiveSubscription subscription, ref ClusterMetadata state)
    {
        _hash.Add(subscription.Name);
        foreach (var filter in subscription.Filters)
        {
            _hash.Add(filter);
        }

        // Api refuses these before they are proposed, with words; here only the state is protected.
        if (!IsName(subscription.Name)
            || subscription.Filters.Length is 0 or > Limits.FiltersPerLiveSubscription
            || !subscription.Filters.All(filter => TopicFilter.TryParse(filter, out _, out _)))
        {
            return new CommandResult { Code = RefusalCode.InvalidArgument };
        }

        if (state.LiveSubscriptions.TryGetValue(subscription.Name, out var known))
        {
            if (known.Filters.SequenceEqual(subscription.Filters))
            {
                return new CommandResult { Duplicate = true };
            }
        }
        else if (state.LiveSubscriptions.Count >= Limits.LiveSubscriptions)
        {
            return new CommandResult { Code = RefusalCode.ResourceExhausted };
        }

        state = state with { LiveSubscriptions = state.LiveSubscriptions.SetItem(subscription.Name, subscription) };
        return default;
    }

    private CommandResult DeleteSubscription(string name, ref ClusterMetadata state)
    {
        _hash.Add(name);
        if (!state.LiveSubscriptions.ContainsKey(name))
        {
            return new CommandResult { Duplicate = true };
        }

        state = state with { LiveSubscriptions = state.LiveSubscriptions.Remove(name) };
        return default;
    }

    private static bool IsName(string name) =>
        name.Length is > 0 and <= Limits.TopicNameBytes && Encoding.UTF8.GetByteCount(name) <= Limits.TopicNameBytes;
}
