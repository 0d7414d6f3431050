using System.Buffers;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.V1;

namespace Broker.Api;

/// <summary>Which consumer groups there are: found, also when this node lags, and made.</summary>
internal sealed class GroupRegistry(BrokerNode node, AdminForwarder forwarder, TimeProvider time)
{
    /// <summary>
    /// Shards follow in milliseconds, or when they have a leader; less than a forwarded call may take.
    /// </summary>
    private static readonly TimeSpan FollowPatience = TimeSpan.FromSeconds(4);

    private static readonly TimeSpan FollowInterval = TimeSpan.FromMilliseconds(5);

    /// <summary>A group of a name; when this node does not know it, it learns first what others were told.</summary>
    /// <exception cref="BrokerException">InvalidArgument, NotFound, NoLeader.</exception>
    public async ValueTask<ConsumerGroup> FindAsync(string name, CancellationToken cancellationToken)
    {
        GroupConfigs.CheckName(name);
        return node.ConsumerGroups.Find(name)
            ?? await FindLatestAsync(name, cancellationToken)
            ?? throw Refusal.NoSuchGroup(name);
    }

    /// <summary>The same as the metadata group has it now; null: there is none.</summary>
    public async Task<ConsumerGroup?> FindLatestAsync(string name, CancellationToken cancellationToken)
    {
        await node.CatchUpAsync(GroupId.Metadata, cancellationToken);
        return node.ConsumerGroups.Find(name);
    }

    /// <summary>The group of a consumer, which makes it when it says what it is to follow.</summary>
    /// <exception cref="BrokerException">
    /// InvalidArgument, NotFound, GroupDiffers, ResourceExhausted, NoLeader.
    /// </exception>
    public async Task<ConsumerGroup> FindOrMakeAsync(
        string name, int mode, IReadOnlyCollection<string> filters, CancellationToken cancellationToken)
    {
        GroupConfigs.CheckName(name);
        GroupConfigs.CheckFilters(filters);
        var wanted = GroupConfigs.ReadMode(mode);
        var known = node.ConsumerGroups.Find(name);
        if (known is null || Difference(known, wanted, filters) is not null)
        {
            known = await FindLatestAsync(name, cancellationToken);
        }

        if (known is null && filters.Count > 0)
        {
            known = await MakeAsync(name, mode, filters, cancellationToken);
        }

        if (known is null)
        {
            throw Refusal.NoSuchGroup(name);
        }

        return Difference(known, wanted, filters) is { } difference
            ? throw Refusal.GroupDiffers(name, difference)
            : known;
    }

    /// <summary>
    /// Waits until every shard knows a group: what is stored from then on it gets, wherever it begins.
    /// </summary>
    /// <exception cref="BrokerException">PartitionsChanged: some shards do not follow now. NoLeader.</exception>
    public async Task WaitUntilOpenAsync(string name, CancellationToken cancellationToken)
    {
        if (await FindLatestAsync(name, cancellationToken) is not { } group)
        {
            // Somebody has deleted it already.
            return;
        }

        var progress = node.DataShards
            .Select(static shard => shard.Machine.Module<GroupProgressModule>())
            .ToList();
        var since = time.GetTimestamp();
        while (!progress.TrueForAll(shard => shard.OpenGroups.Contains(group.Number))
            && node.ConsumerGroups.Find(group.Number) is not null)
        {
            if (time.GetElapsedTime(since) > FollowPatience)
            {
                throw Refusal.GroupLags(name);
            }

            await Task.Delay(FollowInterval, time, cancellationToken);
        }
    }

    private static string? Difference(
        ConsumerGroup group, ConsumerGroupMode? mode, IReadOnlyCollection<string> filters)
    {
        if (mode is { } wanted && wanted != group.Settings.Mode)
        {
            return $"the mode {group.Settings.Mode}, not {wanted}";
        }

        var known = group.Settings.Filters;
        return filters.Count == 0 || filters.ToHashSet(StringComparer.Ordinal).SetEquals(known)
            ? null
            : $"the filters '{string.Join("', '", known)}', not those of the request";
    }

    /// <summary>Who comes first makes it; another one finds it, as it is then.</summary>
    private async Task<ConsumerGroup?> MakeAsync(
        string name, int mode, IReadOnlyCollection<string> filters, CancellationToken cancellationToken)
    {
        var request = new CreateGroupRequest
        {
            Name = name,
            Config = new GroupConfig { Filters = { filters }, Mode = (GroupMode)mode },
        };
        var (settings, start) = GroupConfigs.ReadNew(request.Config);
        var command = new ArrayBufferWriter<byte>();
        ConsumerGroupCommands.WriteCreate(command, name, settings, start);
        try
        {
            await forwarder.ChangeAsync(
                GroupId.Metadata,
                () => Task.FromResult(command.WrittenMemory),
                static (client, message, options) => client.CreateGroupAsync(message, options),
                request,
                result => GroupAdmin.Made(result, name, settings, start),
                isForwarded: false,
                cancellationToken);
        }
        catch (BrokerException refusal) when (refusal.Code == RefusalCode.AlreadyExists)
        {
            // It is found below.
        }
        catch (Grpc.Core.RpcException refusal) when (refusal.StatusCode == Grpc.Core.StatusCode.AlreadyExists)
        {
            // The same, by another node's word.
        }

        return await FindLatestAsync(name, cancellationToken);
    }
}
