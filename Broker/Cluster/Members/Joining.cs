using System.Collections.Immutable;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Storage;
using Broker.Transport;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>
/// A node with a new disk asks members, at the addresses that it was given, to be taken in, again and again; with none
/// it waits until an operator names it to a member, which then tells it where members are. Before it is taken in it has
/// no number, and nothing of it takes part in anything.
/// </summary>
internal sealed class Joining(ClusterOptions options, NodeStore store, TimeProvider time, ILoggerFactory loggers)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly ILogger _logger = loggers.CreateLogger("Broker.Cluster");
    private ImmutableList<Uri> _addresses = [.. options.JoinAt ?? []];
    private volatile string _obstacle = "";

    /// <summary>What it waits for, in words for its operator.</summary>
    public string Obstacle => _obstacle;

    /// <summary>What this node says of itself.</summary>
    public PeerHello Hello => new()
    {
        ProtocolVersion = PeerGate.ProtocolVersion,
        Name = options.NodeName,
        ClusterId = store.ClusterId?.ToString("N") ?? "",
        StoreId = store.StoreId.ToString("N"),
        DataShards = (uint)options.DataShards,
        ReplacesLostDisk = options.ReplacesLostDisk,
        Address = Self?.Address.ToString() ?? "",
        ClientAddress = Self?.ClientAddressText ?? "",
        Roles = (uint)options.Roles,
    };

    private PeerEndpoint? Self => options.Nodes.FirstOrDefault(node => node.Name == options.NodeName);

    /// <summary>A member is to take a node in; if it is this one, it asks there. Any thread.</summary>
    public void Invite(string name, IEnumerable<string> addresses)
    {
        if (name != options.NodeName)
        {
            return;
        }

        foreach (var text in addresses.Take(GroupConfiguration.MaxMembers))
        {
            if (Uri.TryCreate(text, UriKind.Absolute, out var address))
            {
                ImmutableInterlocked.Update(
                    ref _addresses,
                    known => known.Contains(address) ? known : known.Insert(0, address));
            }
        }
    }

    /// <summary>True when the node has been taken in, durably; false when it is to stop before.</summary>
    public async Task<bool> RunAsync(CancellationToken stopping)
    {
        if (options.IsRemoved)
        {
            Say($"{options.NodeName} was removed from its cluster, and its disk in {options.DataDirectory} is no part "
                + "of it any more. To have the node join anew, give it an empty folder and start it with "
                + "Broker__Join.");
            await Task.Delay(Timeout.InfiniteTimeSpan, stopping).ConfigureAwait(
                ConfigureAwaitOptions.SuppressThrowing);
            return false;
        }

        while (!stopping.IsCancellationRequested)
        {
            if (await TryJoinAsync(stopping))
            {
                return true;
            }

            await Task.Delay(Interval, time, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        return false;
    }

    private async Task<bool> TryJoinAsync(CancellationToken stopping)
    {
        var addresses = _addresses;
        var reasons = new List<string>();
        foreach (var address in addresses)
        {
            try
            {
                var answer = await PeerTransport.RegisterAtAsync(address, Hello, stopping);
                if (answer.NodeId > 0)
                {
                    TakeIn(answer);
                    return true;
                }

                reasons.Add($"{address} says: {answer.Refusal}");
                break;
            }
            catch (RpcException failure)
            {
                reasons.Add($"{address} does not answer as a member: {failure.Status.Detail}");
            }
        }

        Say(addresses.IsEmpty
            ? $"{options.NodeName} has an empty disk and waits for an invitation: have a member take it in (AddNode) "
                + $"with the address {Hello.Address}."
            : $"{options.NodeName} has an empty disk and asks to be taken in by the cluster that it was told of "
                + $"(Broker__Join). {string.Join(" ", reasons)}");
        return false;
    }

    private void TakeIn(RegisterResponse answer)
    {
        var clusterId = Guid.ParseExact(answer.ClusterId, "N");
        store.Admit(
            new NodeId((int)answer.NodeId),
            (int)answer.DataShards,
            answer.BeginsAsLost ? null : clusterId,
            [.. answer.Founders.Select((founder, at) => new Founder(
                new NodeId((int)founder),
                NodeRolesWords.OfWire(at < answer.FounderRoles.Count ? answer.FounderRoles[at] : 0)))],
            [.. answer.Members.Select(static member =>
                new KnownMember(new NodeId((int)member.NodeId), member.Name, member.Address))]);
        ClusterEvents.TakenIn(_logger, answer.ClusterId, (int)answer.NodeId);
    }

    private void Say(string obstacle)
    {
        if (_obstacle != obstacle)
        {
            _obstacle = obstacle;
            ClusterEvents.WaitsToJoin(_logger, obstacle);
        }
    }
}
