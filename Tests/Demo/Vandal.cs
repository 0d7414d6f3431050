using Broker.Client;

namespace Broker.Tests.Demo;

/// <summary>
/// Kills leaders and Redis with kill -9 while the job runs, spread evenly over it, and starts them again.
/// </summary>
internal sealed class Vandal(ISystem system, BrokerClient brokers, MainJobOptions options, Action<string> say)
{
    private readonly List<string> _events = [];

    public IReadOnlyList<string> Events => _events;

    public async Task RunAsync(Func<double> progress, CancellationToken cancellationToken)
    {
        var plan = Enumerable.Repeat("leader", options.LeaderKills).ToList();
        for (var i = 0; i < options.RedisKills; i++)
        {
            plan.Insert(Math.Min(1 + i, plan.Count), "cache");
        }

        for (var i = 0; i < plan.Count; i++)
        {
            var moment = (i + 1.0) / (plan.Count + 1);
            while (progress() < moment)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(5), cancellationToken);
            }

            var victim = plan[i] == "leader" ? await FindBusiestLeaderAsync(cancellationToken) : plan[i];
            await KillAndReviveAsync(victim, progress(), cancellationToken);
        }
    }

    private async Task KillAndReviveAsync(string victim, double progress, CancellationToken cancellationToken)
    {
        await system.KillAsync(victim, cancellationToken);
        Note($"kill -9 {victim} at {progress:P0}");
        await Task.Delay(options.Away, cancellationToken);
        await system.StartAsync(victim, cancellationToken);
        Note($"{victim} is back");
    }

    /// <summary>The node that leads most data shards.</summary>
    private async Task<string> FindBusiestLeaderAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var cluster = await brokers.DescribeClusterAsync(cancellationToken);
            var busiest = cluster.Shards.Where(shard => shard.Shard > 0 && shard.Leader != 0)
                .GroupBy(shard => shard.Leader)
                .OrderByDescending(shards => shards.Count())
                .FirstOrDefault();
            if (busiest is not null)
            {
                return cluster.Nodes.First(node => node.NodeId == busiest.Key).Name;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(50), cancellationToken);
        }
    }

    private void Note(string what)
    {
        _events.Add(what);
        say(what);
    }
}
