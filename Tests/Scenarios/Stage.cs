using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Broker.Client;

namespace Broker.Tests.Scenarios;

/// <summary>
/// Where a scenario is played: real brokers, publishers and subscribers, and one line for each thing that somebody
/// does, with the time and who it is. What brokers do is taken from their own logs.
/// </summary>
internal sealed partial class Stage(bool isLive) : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly List<string> _lines = [];
    private readonly ConcurrentDictionary<(int Node, int Shard), string> _roles = new();
    private readonly List<Actor> _actors = [];

    public Brokers Brokers { get; private set; } = new(0);

    /// <summary>Brokers that form a cluster; their shards' roles are told.</summary>
    public async Task FormAsync(int founders, int shards = 1, IReadOnlyDictionary<int, string>? roles = null)
    {
        Title("Broker");
        Use(founders, shards, roles);
        await Brokers.FormAsync();
    }

    public void Use(int founders, int shards = 1, IReadOnlyDictionary<int, string>? roles = null) =>
        Brokers = new Brokers(founders, shards)
        {
            Heard = (node, line) => Hear(node, line, shards),
            Roles = roles ?? new Dictionary<int, string>(),
        };

    public void Title(string what)
    {
        Say("");
        Say($"==================== {what} ====================");
    }

    public void Say(string who, string what) => Say(
        $"{TimeProvider.System.GetLocalNow().ToString("HH:mm:ss.fff", CultureInfo.InvariantCulture)} [{who}] {what}");

    /// <summary>Fails the scenario when something does not hold.</summary>
    public void Expect(bool holds, string what)
    {
        if (!holds)
        {
            throw new InvalidOperationException($"Expected: {what}");
        }

        Say("Check", what);
    }

    /// <summary>Somebody who publishes to, or reads from, one node.</summary>
    public Actor Enter(string name, int node)
    {
        var actor = new Actor(this, name, node);
        _actors.Add(actor);
        return actor;
    }

    /// <summary>The node that leads a shard, as soon as all these agree.</summary>
    public async Task<int> LeaderAsync(int shard, params int[] nodes)
    {
        var leader = 0;
        await Brokers.UntilAsync(
            async () =>
            {
                var seen = await Task.WhenAll(nodes.Select(Brokers.DescribeAsync));
                var leaders = seen.Select(each => each?.Shards[shard].Leader ?? 0).Distinct().ToArray();
                leader = leaders[0];
                return leaders.Length == 1 && nodes.Contains(leader);
            },
            () => $"nodes {string.Join(", ", nodes)} agree on who leads shard {shard}");
        return leader;
    }

    public async Task KillAsync(int node)
    {
        Say($"broker-{node}", "is killed (kill -9)");
        await Brokers.KillAsync(node);
    }

    /// <summary>Prints what was only noted.</summary>
    public void Tell()
    {
        lock (_gate)
        {
            if (!isLive)
            {
                _lines.ForEach(Console.WriteLine);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var actor in _actors)
        {
            await actor.DisposeAsync();
        }

        await Brokers.DisposeAsync();
    }

    private void Say(string line)
    {
        lock (_gate)
        {
            _lines.Add(line);
            if (isLive)
            {
                Console.WriteLine(line);
            }
        }
    }

    private void Hear(int node, string line, int shards)
    {
        if (LogLine().Match(line) is not { Success: true } log)
        {
            return;
        }

        var words = log.Groups["words"].Value;
        if (log.Groups["id"].Value == "1101" && RoleWords().Match(words) is { Success: true } role)
        {
            var shard = int.Parse(role.Groups["group"].Value, CultureInfo.InvariantCulture);
            _roles[(node, shard)] = role.Groups["role"].Value.ToUpperInvariant();
            if (shard == 0)
            {
                return;
            }

            words = role.Groups["role"].Value switch
            {
                "Leader" => $"New leader of shard {shard}, term {role.Groups["term"].Value}",
                "PreCandidate" => $"Hears no leader of shard {shard}, asks who would vote for it",
                "Candidate" => $"Timeout, sends RequestVote for shard {shard}, term {role.Groups["term"].Value}",
                _ when role.Groups["leader"].Value != "0" =>
                    $"Follows broker-{role.Groups["leader"].Value} in shard {shard}, term {role.Groups["term"].Value}",
                _ => $"Knows no leader of shard {shard}, term {role.Groups["term"].Value}",
            };
        }
        else if (!IsTold().IsMatch(log.Groups["id"].Value))
        {
            return;
        }

        var name = new StringBuilder($"broker-{node}");
        if (shards == 1 && _roles.TryGetValue((node, 1), out var own))
        {
            name.Append(' ').Append(own);
        }

        Say(name.ToString(), words);
    }

    /// <summary>E.g. "2026-11-27T00:36:20.892Z info: Broker.Cluster[7012] Node 4 joins".</summary>
    [GeneratedRegex(@"^\S+Z \w+: Broker\.\w+\[(?<id>\d+)\] (?<words>.*)$")]
    private static partial Regex LogLine();

    [GeneratedRegex(@"^Group (?<group>\d+) is (?<role>\w+) in term (?<term>\d+); leader (?<leader>\d+)$")]
    private static partial Regex RoleWords();

    /// <summary>Formation, members, balance of leaders.</summary>
    [GeneratedRegex("^(7003|7004|7007|701[234789]|7090)$")]
    private static partial Regex IsTold();
}

/// <summary>A publisher or a subscriber that talks to one node; what it hears is told and kept.</summary>
internal sealed class Actor(Stage stage, string name, int node) : IAsyncDisposable
{
    private readonly BrokerClient _client = stage.Brokers.Connect(node);
    private readonly ConcurrentQueue<string> _heard = new();
    private CancellationTokenSource? _subscription;
    private Task _reading = Task.CompletedTask;

    /// <summary>The messages that came, in their order.</summary>
    public IReadOnlyCollection<string> Heard => _heard;

    /// <summary>What comes next, by offset: a subscriber that was away goes on there.</summary>
    public long Next { get; private set; }

    public async Task PublishAsync(string topic, string text)
    {
        stage.Say(name, $"Publishes to topic `{topic}` at broker-{node}: `{text}`");
        var ack = await _client.PublishAsync(topic, new BrokerMessage { Value = Encoding.UTF8.GetBytes(text) });
        stage.Say(name, $"Acknowledged: offset {ack.Offset}, on a majority's disks");
    }

    /// <summary>Makes its wish known to the cluster (replicated), and follows the topic at its node.</summary>
    public async Task SubscribeAsync(string topic, long? from = null)
    {
        var place = from is null ? "" : $" from offset {from}";
        stage.Say(name, $"Subscribes to topic `{topic}` at broker-{node}{place}");
        await _client.CreateTopicAsync(topic, new TopicSettings());
        await _client.PutLiveSubscriptionAsync(name, [topic]);
        Next = from ?? (await _client.DescribeTopicAsync(topic)).Topic.NextOffset;
        stage.Say(name, $"Acknowledged: subscribed to `{topic}`, replicated");
        _subscription = new CancellationTokenSource();
        _reading = Task.Run(() => ReadAsync(topic, _subscription.Token));
    }

    public async Task UnsubscribeAsync()
    {
        stage.Say(name, $"Unsubscribes at broker-{node}");
        await _client.DeleteLiveSubscriptionAsync(name);
        await StopReadingAsync();
        stage.Say(name, "Acknowledged: unsubscribed, replicated");
    }

    /// <summary>It is away for a while, and keeps its place.</summary>
    public async Task LeaveAsync()
    {
        await StopReadingAsync();
        stage.Say(name, $"Goes away, at offset {Next}");
    }

    public async Task HearsAsync(params string[] texts)
    {
        await Brokers.UntilAsync(
            () => Task.FromResult(_heard.Count >= texts.Length),
            () => $"{name} hears {string.Join(", ", texts)}; it heard {string.Join(", ", _heard)}");
        stage.Expect(_heard.SequenceEqual(texts), $"{name} has exactly: {string.Join(", ", texts)}");
    }

    public async ValueTask DisposeAsync()
    {
        await StopReadingAsync();
        _subscription?.Dispose();
        await _client.DisposeAsync();
    }

    private async Task StopReadingAsync()
    {
        if (_subscription is not null)
        {
            await _subscription.CancelAsync();
        }

        await _reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task ReadAsync(string topic, CancellationToken cancellationToken)
    {
        var options = new ReadOptions { FromOffset = Next, Follow = true };
        await foreach (var record in _client.ReadAsync(topic, options, cancellationToken))
        {
            var text = Encoding.UTF8.GetString(record.Value.Span);
            Next = record.Offset + 1;
            stage.Say(name, $"Received on topic `{topic}`, offset {record.Offset}: `{text}`");
            _heard.Enqueue(text);
        }
    }
}
