using System.Globalization;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>
/// A cluster of brokers. Its connection string names all of its nodes, e.g.
/// "http://localhost:7001;http://localhost:7002": a client needs any one that lives. What is given to it as environment
/// or reference, each of its nodes gets.
/// </summary>
/// <param name="name">The cluster's name; its nodes have it too, with a number: "messaging-1".</param>
public sealed class BrokerResource(string name)
    : Resource(name), IResourceWithConnectionString, IResourceWithEnvironment
{
    /// <summary>The endpoint of a node that clients speak gRPC with.</summary>
    public const string GrpcEndpointName = "grpc";

    /// <summary>The endpoint of a node for health, metrics and whoever speaks HTTP/1.1.</summary>
    public const string HttpEndpointName = "http";

    /// <summary>The endpoint at which the nodes reach each other; no business of clients.</summary>
    public const string PeerEndpointName = "peer";

    private readonly List<IResourceWithEndpoints> _nodes = [];

    /// <summary>The nodes in the order of their numbers; at least one.</summary>
    public IReadOnlyList<IResourceWithEndpoints> Nodes => _nodes;

    /// <inheritdoc/>
    public ReferenceExpression ConnectionStringExpression
    {
        get
        {
            var addresses = new ReferenceExpressionBuilder();
            foreach (var node in _nodes)
            {
                if (!addresses.IsEmpty)
                {
                    addresses.AppendLiteral(";");
                }

                addresses.Append($"{Grpc(node).Property(EndpointProperty.Url)}");
            }

            return addresses.Build();
        }
    }

    /// <summary>Makes a node of this name.</summary>
    internal Func<string, IResourceWithEndpoints>? Add { get; set; }

    /// <summary>Takes a node out of the model.</summary>
    internal Action<IResourceWithEndpoints>? Remove { get; set; }

    /// <summary>Where the nodes keep their data, each in a folder of its own. Null: it ends with the run.</summary>
    internal string? DataFolder { get; set; }

    /// <summary>The volumes that they have where the system is published, without the node's number.</summary>
    internal string? VolumeName { get; set; }

    /// <summary>The port for gRPC of the first node; the others have those that follow. Null: free ones.</summary>
    internal int? FirstPort { get; set; }

    /// <summary>Their image where the system is published.</summary>
    internal string Image { get; set; } = "broker-aspire/broker";

    internal string ImageTag { get; set; } = "latest";

    /// <summary>Host, Port and Uri are those of the first node; Uris has all, separated by semicolons.</summary>
    /// <returns>The properties.</returns>
    public IEnumerable<KeyValuePair<string, ReferenceExpression>> GetConnectionProperties()
    {
        var first = Grpc(_nodes[0]);
        yield return new("Host", ReferenceExpression.Create($"{first.Property(EndpointProperty.Host)}"));
        yield return new("Port", ReferenceExpression.Create($"{first.Property(EndpointProperty.Port)}"));
        yield return new("Uri", ReferenceExpression.Create($"{first.Property(EndpointProperty.Url)}"));
        yield return new("Uris", ConnectionStringExpression);
    }

    internal static EndpointReference Grpc(IResourceWithEndpoints node) => node.GetEndpoint(GrpcEndpointName);

    /// <summary>The nodes are named by it from 1 on.</summary>
    internal void Resize(int count)
    {
        while (_nodes.Count < count)
        {
            var number = (_nodes.Count + 1).ToString(CultureInfo.InvariantCulture);
            _nodes.Add(Add!($"{Name}-{number}"));
        }

        while (_nodes.Count > count)
        {
            Remove!(_nodes[^1]);
            _nodes.RemoveAt(_nodes.Count - 1);
        }
    }
}

/// <summary>A broker that runs as a program of this machine.</summary>
/// <param name="name">Its name, e.g. "messaging-1".</param>
/// <param name="command">What starts it.</param>
/// <param name="workingDirectory">Where it stands.</param>
/// <param name="cluster">The cluster that it is a node of.</param>
public sealed class BrokerNodeResource(string name, string command, string workingDirectory, BrokerResource cluster)
    : ExecutableResource(name, command, workingDirectory)
{
    /// <summary>The cluster that it is a node of.</summary>
    public BrokerResource Cluster { get; } = cluster;
}
