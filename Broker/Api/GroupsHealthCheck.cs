using Broker.Cluster;
using Broker.Replication;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Broker.Api;

/// <summary>
/// Unhealthy while a group knows no leader: a publish to its topics would not be taken. Degraded while a replica of
/// this node is not well, which mends itself or waits for space on the disk.
/// </summary>
internal sealed class GroupsHealthCheck(BrokerNode node) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        if (node.Obstacle.Length > 0)
        {
            return Task.FromResult(HealthCheckResult.Unhealthy(node.Obstacle));
        }

        var leaderless = node.Groups.Where(group => group.Status.Leader.IsNone).Select(group => group.Id).ToList();
        if (leaderless.Count > 0)
        {
            return Task.FromResult(
                HealthCheckResult.Unhealthy($"No leader is known for group {string.Join(", ", leaderless)}."));
        }

        var lost = node.Groups.Where(group => node.CountLostSegments(group.Id) > 0)
            .Select(group => $"{node.CountLostSegments(group.Id)} of group {group.Id}").ToList();
        if (lost.Count > 0)
        {
            return Task.FromResult(HealthCheckResult.Degraded(
                $"No replica can read these segments: {string.Join(", ", lost)}. The log says how to go on."));
        }

        var unwell = node.Groups.Where(group => !group.Status.Condition.IsWell)
            .Select(group => $"group {group.Id} {Describe(group.Status.Condition)}").ToList();
        return Task.FromResult(unwell.Count == 0
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Degraded($"Not well here: {string.Join("; ", unwell)}."));
    }

    private static string Describe(GroupCondition condition)
    {
        var words = new List<string>();
        Add(condition.IsLost, "has lost its log and waits to be a member again");
        Add(condition.IsPassive && !condition.IsLost, "catches up after it lost its log");
        Add(condition.IsFenced, "fetches the damaged end of its log");
        Add(condition.DamagedSegments > 0, $"has {condition.DamagedSegments} damaged segments to repair");
        Add(condition.DamagedIndexes > 0, $"makes {condition.DamagedIndexes} damaged index files anew");
        Add(condition.IsApplyBlocked, "cannot read the next entry to apply");
        Add(condition.IsDiskFull, "waits for space on the disk");
        return string.Join(", ", words);

        void Add(bool holds, string word)
        {
            if (holds)
            {
                words.Add(word);
            }
        }
    }
}
