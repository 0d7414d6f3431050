using Broker.Cluster;
using Broker.Replication;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Broker.Api;

/// <summary>
/// Unhealthy while a group knows no leader, or is led here and cannot store anything: a publish to its topics would not
/// be taken. Degraded while a replica of this node is not well, or a task of the node fails.
/// </summary>
internal sealed class GroupsHealthCheck(BrokerNode node) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(node.Obstacle.Length > 0
            ? HealthCheckResult.Unhealthy(node.Obstacle)
            : Judge(
                [.. node.Groups.Select(static group => group.Status)],
                [.. node.FailingTasks, .. LostSegments(), .. Disk()],
                [.. node.Groups.Select(group => node.QuorumLossOf(group.Id)?.What).OfType<string>()]));

    internal static HealthCheckResult Judge(
        IReadOnlyList<GroupStatus> groups, IReadOnlyList<string> failing, IReadOnlyList<string>? quorumLosses = null)
    {
        var unwell = groups.Where(static group => !group.Condition.IsWell)
            .Select(static group => $"group {group.Group} {Describe(group.Condition)}").Concat(failing).ToList();
        var words = unwell.Count == 0 ? "" : $"Not well here: {string.Join("; ", unwell)}.";
        var leaderless = groups.Where(static group => group.Leader.IsNone).Select(static group => group.Group).ToList();
        if (leaderless.Count > 0)
        {
            var losses = string.Concat(quorumLosses?.Select(static loss => $"{loss} ") ?? []);
            return HealthCheckResult.Unhealthy(
                $"No leader is known for group {string.Join(", ", leaderless)}. {losses}{words}".TrimEnd());
        }

        return groups.Any(static group => group.Condition.IsStuck) ? HealthCheckResult.Unhealthy(words)
            : unwell.Count > 0 ? HealthCheckResult.Degraded(words)
            : HealthCheckResult.Healthy();
    }

    private IEnumerable<string> Disk() => node.DiskWarning is { Length: > 0 } warning ? [warning] : [];

    private IEnumerable<string> LostSegments()
    {
        foreach (var group in node.Groups)
        {
            if (node.CountLostSegments(group.Id) is var lost and > 0)
            {
                yield return $"no replica can read {lost} segments of group {group.Id} (the log says how to go on)";
            }
        }
    }

    private static string Describe(GroupCondition condition)
    {
        var words = new List<string>();
        Add(condition.IsSuperseded, "was left out of a forced recovery: start this broker again");
        Add(condition.IsLost && !condition.IsSuperseded, "has lost its log and waits to be a member again");
        Add(condition.IsPassive && !condition.IsLost, "catches up after it lost its log");
        Add(condition.IsFenced, "fetches the damaged end of its log");
        Add(condition.DamagedSegments > 0, $"has {condition.DamagedSegments} damaged segments to repair");
        Add(condition.DamagedIndexes > 0, $"makes {condition.DamagedIndexes} damaged index files anew");
        Add(condition.IsApplyBlocked, "cannot read the next entry to apply");
        Add(condition.IsStuck, "refuses publishes, as too few nodes can write");
        Add(condition.IsDiskFull, "waits for space on the disk");
        Add(
            condition.IsWriteStalled && !condition.IsDiskFull,
            "waits for the disk, which has not done a write in time");
        Add(condition.IsBackgroundStalled, "waits for the disk with what lies beside its log");
        Add(condition.IsBehind, "does not catch up with its leader");
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
