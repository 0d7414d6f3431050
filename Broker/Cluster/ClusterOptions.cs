using Broker.Client;
using Broker.Domain;
using Broker.ServiceDefaults;
using Broker.Transport;

namespace Broker.Cluster;

/// <summary>
/// What this node is told from outside: section "Broker" of the configuration, and service discovery.
/// </summary>
public sealed record ClusterOptions
{
    /// <summary>This node's name, as service discovery knows it, e.g. "broker-1". Setting Broker:NodeName.</summary>
    public required string NodeName { get; init; }

    /// <summary>This node's number in the cluster, from 1.</summary>
    public required NodeId NodeId { get; init; }

    /// <summary>Where this node keeps its logs. Setting Broker:DataDirectory; default ".data/{name}".</summary>
    public required string DataDirectory { get; init; }

    /// <summary>All nodes, this one too, by id.</summary>
    public required IReadOnlyList<PeerEndpoint> Nodes { get; init; }

    /// <summary>
    /// Raft groups for topics, beside the metadata group. Fixed when the cluster forms. Setting Broker:DataShards;
    /// default 3.
    /// </summary>
    public int DataShards { get; init; } = 3;

    /// <summary>
    /// The size of a full-grown segment of a log, the unit in which a log is sealed, checked, repaired and dropped.
    /// Setting Broker:SegmentBytes, 64 KiB to 1 GiB; default 64 MiB. Small ones suit tests; what exists keeps its size.
    /// </summary>
    public long SegmentBytes { get; init; } = 64L * 1024 * 1024;

    /// <summary>
    /// Free space of the disk that is kept for reading, retention, votes and other leaders' entries: below it this node
    /// takes no publishes, and leaves the lead of its shards to nodes that have space; below twice as much it warns.
    /// Setting Broker:DiskReserveBytes; default 512 MiB. 0: never.
    /// </summary>
    public long DiskReserveBytes { get; init; } = 512L * 1024 * 1024;

    /// <summary>
    /// An operator's word that this node's old disk is gone for good and never comes back: the empty one takes its
    /// place, as a replica that has lost everything. It means nothing on a disk that the cluster knows. Setting
    /// Broker:ReplaceLostDisk; default false.
    /// </summary>
    public bool ReplacesLostDisk { get; init; }

    /// <summary>
    /// Reads the settings. The nodes of the cluster are the services services:{name}:grpc:0 whose name differs from
    /// this node's only by its number (broker-1, broker-2, ...). Without any, the node is a cluster of one.
    /// </summary>
    public static ClusterOptions From(IConfiguration configuration)
    {
        var name = configuration["Broker:NodeName"] ?? "broker-1";
        var nodes = Discover(configuration, name);
        var names = string.Join(", ", nodes.Select(node => node.Name));
        var self = nodes.FirstOrDefault(node => node.Name == name)
            ?? throw new StartupException(
                $"Broker:NodeName is '{name}', but service discovery knows only {names}. "
                + $"Set services__{name}__grpc__0 to this node's own address, or correct the name.");
        var size = configuration.GetValue("Broker:ClusterSize", nodes.Count);
        if (size != nodes.Count)
        {
            throw new StartupException(
                $"Broker:ClusterSize is {size}, but service discovery names {nodes.Count}: {names}. A cluster forms "
                + "with all its nodes and no others: give every node the addresses of all "
                + "(services__broker-2__grpc__0).");
        }

        var shards = configuration.GetValue("Broker:DataShards", 3);
        if (shards is < 1 or > 256)
        {
            throw new StartupException($"Broker:DataShards is {shards}; it must be from 1 to 256.");
        }

        var segmentBytes = configuration.GetValue("Broker:SegmentBytes", 64L * 1024 * 1024);
        if (segmentBytes is < 64 * 1024 or > Limits.SegmentBytes)
        {
            throw new StartupException(
                $"Broker:SegmentBytes is {segmentBytes}; it must be from 65536 (64 KiB) to {Limits.SegmentBytes} "
                + "(1 GiB).");
        }

        var reserveBytes = configuration.GetValue("Broker:DiskReserveBytes", 512L * 1024 * 1024);
        if (reserveBytes is < 0 or > long.MaxValue / 4)
        {
            throw new StartupException(
                $"Broker:DiskReserveBytes is {reserveBytes}; it must be from 0 (no reserve) to {long.MaxValue / 4}.");
        }

        return new ClusterOptions
        {
            NodeName = name,
            NodeId = self.Node,
            DataDirectory = Path.GetFullPath(configuration["Broker:DataDirectory"] ?? Path.Combine(".data", name)),
            Nodes = nodes,
            DataShards = shards,
            SegmentBytes = segmentBytes,
            DiskReserveBytes = reserveBytes,
            ReplacesLostDisk = configuration.GetValue("Broker:ReplaceLostDisk", false),
        };
    }

    private static List<PeerEndpoint> Discover(IConfiguration configuration, string name)
    {
        var family = DiscoveredService.FamilyOf(name);
        try
        {
            var found = DiscoveredService.ReadAll(configuration).Where(service => service.Family == family).ToList();
            if (found.Count == 0)
            {
                found.Add(new DiscoveredService(
                    name, [new Uri($"http://localhost:{configuration["Broker:GrpcPort"] ?? "0"}")]));
            }

            return [.. found.Select((service, position) => new PeerEndpoint(
                new NodeId(position + 1), service.Name, service.Addresses[0]))];
        }
        catch (InvalidOperationException malformed)
        {
            throw new StartupException(malformed.Message, malformed);
        }
    }
}
