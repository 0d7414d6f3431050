using System.Text;
using Broker.Client;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.ClusterState;

/// <summary>
/// The cluster's id, its nodes, its live subscriptions: what group 0 holds. The thread that applies changes them;
/// others read its picture.
/// </summary>
/// <param name="changed">See <see cref="PictureModule{TPicture}"/>.</param>
public sealed partial class ClusterModule(Action<ClusterMetadata>? changed = null)
    : PictureModule<ClusterMetadata>(ClusterMetadata.Empty, changed)
{
    internal override StateSection Section => StateSection.Cluster;

    internal override byte SectionFormat => WithRetiredStores;

    internal override ReadOnlySpan<CommandKind> Commands =>
    [
        CommandKind.ClusterCreated,
        CommandKind.NodeRegistered,
        CommandKind.NodeReplaced,
        CommandKind.PutLiveSubscription,
        CommandKind.DeleteLiveSubscription,
    ];

    internal override CommandResult Apply(in ApplyStep step, in Command command)
    {
        ref var hash = ref step.Hash;
        var result = command.Kind switch
        {
            CommandKind.ClusterCreated =>
                CreateCluster(ClusterCommands.ReadClusterCreated(command), ref hash, ref Next),
            CommandKind.NodeRegistered =>
                RegisterNode(ClusterCommands.ReadNodeRegistered(command), ref hash, ref Next),
            CommandKind.NodeReplaced => ReplaceNode(ClusterCommands.ReadNodeRegistered(command), ref hash, ref Next),
            CommandKind.PutLiveSubscription =>
                PutSubscription(ClusterCommands.ReadPutLiveSubscription(command), ref hash, ref Next),
            _ => DeleteSubscription(ClusterCommands.ReadDeleteLiveSubscription(command), ref hash, ref Next),
        };
        result.TimestampUnixMs = step.Entry.TimestampUnixMs;
        return result;
    }

    /// <summary>For the module of the members, within an entry: a new member comes with this disk.</summary>
    internal void Register(NodeRegistration node) =>
        Next = Next with { Nodes = Next.Nodes.SetItem(node.Id.Value, node) };

    /// <summary>The same: a member has left, and its disk never takes part again.</summary>
    internal void Retire(NodeId id)
    {
        if (Next.FindNode(id) is { } node)
        {
            // The oldest are not known; one that goes makes room, and is a stranger from then on, whose number nobody
            // has: it is refused all the same.
            var retired = Next.RetiredStores.Count < Limits.RetiredStores
                ? Next.RetiredStores
                : Next.RetiredStores.Remove(Next.RetiredStores.Min);
            Next = Next with
            {
                Nodes = Next.Nodes.Remove(id.Value),
                RetiredStores = retired.Add(node.StoreId),
            };
        }
    }

    // Two leaders in a row may both have proposed an id: the first in the log is the cluster's, on every replica.
    private static CommandResult CreateCluster(Guid id, ref StateHasher hash, ref ClusterMetadata state)
    {
        hash.Add(id);
        if (state.ClusterId is not null)
        {
            return new CommandResult { Duplicate = true };
        }

        state = state with { ClusterId = id };
        return default;
    }

    // A node number stands for a disk: one that comes back with another disk has forgotten its votes and its log, and
    // must not pass for the old one (Raft thesis 11.7.2 counts on stable storage).
    private static CommandResult RegisterNode(NodeRegistration node, ref StateHasher hash, ref ClusterMetadata state)
    {
        hash.Add(node.Id.Value);
        hash.Add(node.Name);
        hash.Add(node.StoreId);
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
    private static CommandResult ReplaceNode(NodeRegistration node, ref StateHasher hash, ref ClusterMetadata state)
    {
        hash.Add(node.Id.Value);
        hash.Add(node.Name);
        hash.Add(node.StoreId);
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

    private static CommandResult PutSubscription(
        LiveSubscription subscription, ref StateHasher hash, ref ClusterMetadata state)
    {
        hash.Add(subscription.Name);
        foreach (var filter in subscription.Filters)
        {
            hash.Add(filter);
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

    private static CommandResult DeleteSubscription(string name, ref StateHasher hash, ref ClusterMetadata state)
    {
        hash.Add(name);
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
