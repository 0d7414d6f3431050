using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Broker.Client;

namespace Broker.Hosting;

/// <summary>Buttons on the dashboard by which a node is asked to do something.</summary>
internal static class NodeCommands
{
    /// <summary>A button that does not answer within this time has failed; a drain itself takes up to 20 s.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    public static IResourceBuilder<T> WithNodeCommands<T>(this IResourceBuilder<T> node, BrokerResource cluster)
        where T : IResourceWithEndpoints => node
        .WithNodeCommand(
            cluster,
            "step-down",
            "Step down",
            "ArrowDown",
            "The node gives the lead of every shard that it leads to another node.",
            StepDownAsync)
        .WithNodeCommand(
            cluster,
            "drain",
            "Drain",
            "ArrowExit",
            "The node leads nothing from now on, until Undrain: prepares for a stop.",
            DrainAsync)
        .WithNodeCommand(
            cluster,
            "undrain",
            "Undrain",
            "ArrowEnter",
            "A drained node may lead again.",
            static async (client, id, token) =>
            {
                await client.UndrainNodeAsync(id, token);
                return "The node may lead again.";
            });

    private static IResourceBuilder<T> WithNodeCommand<T>(
        this IResourceBuilder<T> node,
        BrokerResource cluster,
        string name,
        string displayName,
        string icon,
        string description,
        Func<BrokerClient, int, CancellationToken, Task<string>> act)
        where T : IResourceWithEndpoints => node.WithCommand(
        name,
        displayName,
        context => ExecuteAsync(node.Resource.Name, cluster, act, context.CancellationToken),
        new CommandOptions
        {
            Description = description,
            IconName = icon,
            UpdateState = static context => context.ResourceSnapshot.State?.Text == KnownResourceStates.Running
                ? ResourceCommandState.Enabled
                : ResourceCommandState.Disabled,
        });

    private static async Task<ExecuteCommandResult> ExecuteAsync(
        string node,
        BrokerResource cluster,
        Func<BrokerClient, int, CancellationToken, Task<string>> act,
        CancellationToken cancellationToken)
    {
        try
        {
            await using var client = new BrokerClient(new BrokerClientOptions
            {
                Addresses = [.. cluster.Nodes.Select(static one => new Uri(BrokerResource.Grpc(one).Url))],
                ClientName = "aspire",
                OperationTimeout = Patience,
            });
            var known = (await client.DescribeClusterAsync(cancellationToken)).Nodes;
            return known.FirstOrDefault(one => one.Name == node) is { } found
                ? CommandResults.Success(await act(client, found.NodeId, cancellationToken))
                : CommandResults.Failure($"The cluster has no node '{node}'.");
        }
        catch (BrokerClientException refusal)
        {
            return CommandResults.Failure(refusal.Message);
        }
    }

    private static async Task<string> StepDownAsync(BrokerClient client, int node, CancellationToken cancellationToken)
    {
        var shards = (await client.DescribeClusterAsync(cancellationToken)).Shards
            .Where(shard => shard.Leader == node).Select(static shard => shard.Shard).ToList();
        foreach (var shard in shards)
        {
            await client.TransferLeadershipAsync(shard, cancellationToken: cancellationToken);
        }

        return shards.Count == 0
            ? "The node led no shard."
            : $"Others lead shard {string.Join(", ", shards)} now.";
    }

    private static async Task<string> DrainAsync(BrokerClient client, int node, CancellationToken cancellationToken)
    {
        var left = await client.DrainNodeAsync(node, cancellationToken);
        return left.Count == 0
            ? "The node leads nothing, until Undrain."
            : $"Nobody else could take the lead of shard {string.Join(", ", left)} yet.";
    }
}
