using System.Collections.Immutable;
using System.Globalization;
using Broker.Client;
using Broker.Domain;
using Broker.ServiceDefaults;
using Broker.Storage;
using Broker.Transport;

namespace Broker.Cluster;

/// <summary>
/// What this node is told from outside: section "Broker" of the configuration, and service discovery.
/// </summary>
public sealed record ClusterOptions
{
    /// <summary>This node's name, as service discovery knows it, e.g. "broker-1". Setting Broker:NodeName.</summary>
    public required string NodeName { get; init; }

    /// <summary>
    /// This node's number in the cluster, from 1: as its disk says; in a cluster that forms, its place among the nodes.
    /// None: it waits to be taken in.
    /// </summary>
    public required NodeId NodeId { get; init; }

    /// <summary>Where this node keeps its logs. Setting Broker:DataDirectory; default ".data/{name}".</summary>
    public required string DataDirectory { get; init; }

    /// <summary>
    /// The nodes that are known at the start, this one too, by id: those that form the cluster, or its members as the
    /// disk remembers them, where service discovery says that they are.
    /// </summary>
    public required IReadOnlyList<PeerEndpoint> Nodes { get; init; }

    /// <summary>The nodes that the groups began with; null: all of <see cref="Nodes"/>, with both roles.</summary>
    public IReadOnlyList<Founder>? Founders { get; init; }

    /// <summary>
    /// What this node is for: a controller votes in the metadata group, a data node holds topics. Kept for the life of
    /// its disk. Setting Broker:Roles: "controller", "data", or "controller,data"; default: as the disk says, else
    /// both.
    /// </summary>
    public NodeRoles Roles { get; init; } = NodeRoles.Both;

    /// <summary>The node has replicas of the shards for topics.</summary>
    public bool HoldsTopics => Roles.HasFlag(NodeRoles.Data);

    /// <summary>
    /// Where members of a running cluster are that is to take this node in, when its disk is new. Null: it is one of
    /// those that form a cluster. Empty: it waits until an operator adds it (AddNode). Setting Broker:Join: addresses
    /// separated by commas; "discovery" for the other brokers that service discovery names; "invitation".
    /// </summary>
    public IReadOnlyList<Uri>? JoinAt { get; init; }

    /// <summary>The cluster has taken this node's disk out: it takes no part in anything.</summary>
    public bool IsRemoved { get; init; }

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
    /// What a node sends to others in a second of snapshots, of entries for repair, and of its logs to nodes that are
    /// new, all together. Setting Broker:TransferBytesPerSecond, at least 4 MiB; default 64 MiB: fast enough to give a
    /// segment away in a second, an eighth of what a common disk flushes, so that publishes keep the rest. Higher lets
    /// a node that joins or was lost be complete sooner, at the cost of who publishes.
    /// </summary>
    public long TransferBytesPerSecond { get; init; } = 64L * 1024 * 1024;

    /// <summary>
    /// How long a member may be silent before it is evicted: it votes nowhere until it is back. What counts is the
    /// setting of the node that leads the metadata group, so give all nodes the same. Setting Broker:EvictAfter, at
    /// least 00:00:05. Null, the default: never.
    /// </summary>
    public TimeSpan? EvictAfter { get; init; }

    /// <summary>
    /// An operator's word that this node's old disk is gone for good and never comes back: the empty one takes its
    /// place, as a replica that has lost everything. It means nothing on a disk that the cluster knows. Setting
    /// Broker:ReplaceLostDisk; default false.
    /// </summary>
    public bool ReplacesLostDisk { get; init; }

    /// <summary>
    /// The port at which peers reach a node when nobody says which: that for clients and a thousand, or a free one when
    /// that is free.
    /// </summary>
    public static int PeerPortOf(int grpcPort) =>
        grpcPort == 0 ? 0 : grpcPort <= System.Net.IPEndPoint.MaxPort - 1_000 ? grpcPort + 1_000 : grpcPort - 1_000;

    /// <summary>
    /// Reads the settings, and what the disk says of itself. A disk that belongs to a cluster decides who this node is.
    /// A new one: the nodes of the cluster are the services services:{name}:grpc:0 whose name differs from this node's
    /// only by its number (broker-1, broker-2, ...), and services:{name}:peer:0 is where their peers reach them, by
    /// default at that address with the port of <see cref="PeerPortOf"/>. Without any, the node is a cluster of one.
    /// </summary>
    public static ClusterOptions From(IConfiguration configuration, IStorageDevice? device = null)
    {
        var name = configuration["Broker:NodeName"] ?? "broker-1";
        var folder = Path.GetFullPath(configuration["Broker:DataDirectory"] ?? Path.Combine(".data", name));
        var disk = device is null ? null : Peek(device, folder);
        var discovered = Discover(configuration, name);
        var joinAt = ReadJoin(configuration, discovered, name);
        var kept = disk?.Identity.DataShards ?? 3;
        var shards = configuration.GetValue("Broker:DataShards", kept);
        if (shards is < 1 or > Limits.Shards)
        {
            throw new StartupException($"Broker:DataShards is {shards}; it must be from 1 to {Limits.Shards}.");
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

        var transferRate = configuration.GetValue("Broker:TransferBytesPerSecond", 64L * 1024 * 1024);
        if (transferRate < Limits.TransferBytesPerSecondMin)
        {
            throw new StartupException(
                $"Broker:TransferBytesPerSecond is {transferRate}; it must be {Limits.TransferBytesPerSecondMin} "
                + "(4 MiB) or more.");
        }

        var self = discovered.FirstOrDefault(node => node.Name == name);
        var roles = ReadRoles(configuration["Broker:Roles"]) ?? disk?.Roles ?? NodeRoles.Both;
        var evictAfter = ReadEvictAfter(configuration["Broker:EvictAfter"]);
        var options = new ClusterOptions
        {
            NodeName = name,
            NodeId = NodeId.None,
            DataDirectory = folder,
            Nodes = self is null ? [] : [self],
            Roles = roles,
            DataShards = shards,
            SegmentBytes = segmentBytes,
            DiskReserveBytes = reserveBytes,
            TransferBytesPerSecond = transferRate,
            EvictAfter = evictAfter,
            ReplacesLostDisk = configuration.GetValue("Broker:ReplaceLostDisk", false),
            JoinAt = joinAt,
            IsRemoved = disk?.IsRemoved ?? false,
        };
        if (disk is not null && disk.Members.Length > 0 && disk.Identity.NodeName == name)
        {
            return options.AsMember(disk, discovered, self);
        }

        var isFounded = disk is not null && (disk.Identity.ClusterId is not null || disk.Groups.Count > 0);
        return joinAt is not null && !isFounded
            ? options
            : options.AsFounder(configuration, discovered, self, isFounded) with { Founders = FoundersOf(disk) };
    }

    private static ImmutableArray<Founder>? FoundersOf(NodeRecord? disk) =>
        disk is null || disk.Founders.IsEmpty ? null : disk.Founders;

    private static NodeRecord? Peek(IStorageDevice device, string folder)
    {
        try
        {
            return NodeStore.Peek(device, folder);
        }
        catch (Exception damage) when (damage is StorageRefusedException or StorageCorruptException)
        {
            throw new StartupException(damage.Message, damage);
        }
    }

    /// <summary>The disk remembers who belongs to the cluster; service discovery, where they are.</summary>
    private ClusterOptions AsMember(NodeRecord disk, List<PeerEndpoint> discovered, PeerEndpoint? self)
    {
        var nodes = disk.Members
            .Where(member => member.Node != disk.Identity.NodeId)
            .Select(member => discovered.Find(each => each.Name == member.Name) is { } found
                ? found with { Node = member.Node }
                : new PeerEndpoint(member.Node, member.Name, new Uri(member.Address)))
            .Append(self is not null
                ? self with { Node = disk.Identity.NodeId }
                : new PeerEndpoint(disk.Identity.NodeId, NodeName, new Uri("http://localhost")))
            .OrderBy(static node => node.Node.Value);
        return this with
        {
            NodeId = disk.Identity.NodeId,
            Nodes = [.. nodes],
            Founders = FoundersOf(disk),
        };
    }

    /// <summary>The cluster forms with the nodes that service discovery names, or has.</summary>
    private ClusterOptions AsFounder(
        IConfiguration configuration, List<PeerEndpoint> discovered, PeerEndpoint? self, bool isFounded)
    {
        var names = string.Join(", ", discovered.Select(static node => node.Name));
        if (self is null)
        {
            throw new StartupException(
                $"Broker:NodeName is '{NodeName}', but service discovery knows only {names}. "
                + $"Set services__{NodeName}__grpc__0 to this node's own address, or correct the name.");
        }

        var size = configuration.GetValue("Broker:ClusterSize", discovered.Count);
        if (size != discovered.Count)
        {
            throw new StartupException(
                $"Broker:ClusterSize is {size}, but service discovery names {discovered.Count}: {names}. A cluster "
                + "forms with all its nodes and no others: give every node the addresses of all "
                + "(services__broker-2__grpc__0). To join a cluster that runs already, set Broker__Join.");
        }

        var family = DiscoveredService.FamilyOf(NodeName);
        if (discovered.Count == 1 && !isFounded && family != NodeName
            && configuration["Broker:NodeName"] is not null && configuration["Broker:ClusterSize"] is null)
        {
            throw new StartupException(
                $"{NodeName} has an empty disk and sees only itself, so it forms no cluster: it waits for the other "
                + $"nodes named {family} and a number. Give it their addresses (services__{family}2__grpc__0), the "
                + "address of a running cluster (Broker__Join), or Broker__ClusterSize=1 for a cluster of one.");
        }

        return this with { NodeId = self.Node, Nodes = discovered };
    }

    /// <summary>See <see cref="JoinAt"/>.</summary>
    private static IReadOnlyList<Uri>? ReadJoin(
        IConfiguration configuration, List<PeerEndpoint> discovered, string name)
    {
        switch (configuration["Broker:Join"]?.Trim())
        {
            case null or "":
                return null;
            case "invitation":
                return [];
            case "discovery":
                return [.. discovered.Where(each => each.Name != name).Select(static each => each.Address)];
            case var list:
                return [.. list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
                    .Select(ReadAddress)];
        }
    }

    /// <summary>Null: nothing is said.</summary>
    private static NodeRoles? ReadRoles(string? text)
    {
        if (string.IsNullOrWhiteSpace(text))
        {
            return null;
        }

        return NodeRolesWords.TryParse(text, out var roles)
            ? roles
            : throw new StartupException(
                $"Broker:Roles is '{text}'. It must be 'controller' (votes in the cluster's metadata, holds no "
                + "topics), 'data' (holds topics), or 'controller,data' (both, the default).");
    }

    private static TimeSpan? ReadEvictAfter(string? text)
    {
        if (string.IsNullOrWhiteSpace(text))
        {
            return null;
        }

        // A number alone would be days: nobody means that.
        return text.Contains(':', StringComparison.Ordinal)
            && TimeSpan.TryParse(text, CultureInfo.InvariantCulture, out var length)
            && (length == TimeSpan.Zero || length.TotalMilliseconds >= Limits.EvictAfterMinMs)
            && length.TotalDays <= 365
                ? length == TimeSpan.Zero ? null : length
                : throw new StartupException(
                    $"Broker:EvictAfter is '{text}'. It must be a time such as 00:10:00 (ten minutes), at least "
                    + $"{TimeSpan.FromMilliseconds(Limits.EvictAfterMinMs)} and at most 365 days; 00:00:00: never.");
    }

    private static Uri ReadAddress(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var address)
        && (address.Scheme == Uri.UriSchemeHttp || address.Scheme == Uri.UriSchemeHttps)
            ? address
            : throw new StartupException(
                $"Broker:Join has '{text}'. It must be addresses of brokers' endpoints for peers, such as "
                + "http://localhost:8001, separated by commas, or 'discovery', or 'invitation'.");

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

            var ownPort = configuration.GetValue<int?>("Broker:PeerPort", null);
            return [.. found.Select((service, position) => new PeerEndpoint(
                new NodeId(position + 1),
                service.Name,
                PeerAddressOf(service, service.Name == name ? ownPort : null))
            {
                ClientAddress = service.Addresses[0],
            })];
        }
        catch (InvalidOperationException malformed)
        {
            throw new StartupException(malformed.Message, malformed);
        }
    }

    private static Uri PeerAddressOf(DiscoveredService service, int? port) =>
        service.PeerAddresses.Count > 0
            ? service.PeerAddresses[0]
            : new UriBuilder(service.Addresses[0]) { Port = port ?? PeerPortOf(service.Addresses[0].Port) }.Uri;
}
