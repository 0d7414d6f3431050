using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using Broker.Client;

namespace Broker.Tests.Benchmarks.Soaks;

/// <summary>One run of groups-faults.</summary>
internal sealed class FaultSoak : IAsyncDisposable
{
    private const string Group = "faults";
    private const int Topics = 6;
    private const int Members = 3;
    private const int SizeBytes = 128;

    /// <summary>What the floor may take from the last fault to the end.</summary>
    private static readonly TimeSpan Aim = TimeSpan.FromSeconds(10);

    /// <summary>After that nobody waits any longer.</summary>
    private static readonly TimeSpan GiveUp = TimeSpan.FromSeconds(120);

    private static readonly TimeSpan Down = TimeSpan.FromSeconds(1);

    private readonly FaultSettings _settings;
    private readonly BrokerCluster _cluster;
    private readonly BrokerClient _client;
    private readonly SoakReport _report = new();
    private readonly MemberLog _log = new();
    private readonly List<SoakMember> _members = [];
    private readonly List<Task> _readings = [];
    private long _lastFault;
    private int _kills;
    private int _cuts;
    private int _leaderKills;

    private FaultSoak(FaultSettings settings, BrokerCluster cluster)
    {
        _settings = settings;
        _cluster = cluster;
        _client = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses });
    }

    public static async Task<FaultSoak> StartAsync(
        FaultSettings settings, string folder, CancellationToken cancellationToken)
    {
        var broker = Path.Combine(AppContext.BaseDirectory, "Broker.dll");
        return new FaultSoak(settings, await BrokerCluster.StartAsync([broker], folder, cancellationToken));
    }

    /// <returns>The exit code.</returns>
    public async Task<int> RunAsync(CancellationToken cancellationToken)
    {
        await _cluster.WaitForBalanceAsync(cancellationToken);
        await _client.CreateGroupAsync(
            Group, new GroupSettings { Filters = ["faults.*"], AckWait = _settings.AckWait }, null, cancellationToken);
        for (var i = 0; i < Members; i++)
        {
            StartMember(i);
        }

        Console.WriteLine($"{_settings.Tell()}, {Members} members");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var publishing = PublishAsync(stop.Token);
        stop.CancelAfter(_settings.Duration);
        var faults = Task.WhenAll(FaultMembersAsync(stop.Token), KillLeadersAsync(stop.Token));
        var published = await publishing;
        cancellationToken.ThrowIfCancellationRequested();

        // The last leader that was killed may still be on its way back.
        var settledIn = await WaitUntilSettledAsync(published, cancellationToken);
        await faults;
        await EndMembersAsync();
        var redelivered = _log.Compare(published.Acknowledged, _report);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{published.Acknowledged.Count:N0} messages published ({published.Unknown:N0} without an answer); "
            + $"{_kills} members killed, {_cuts} cut off, {_leaderKills} leaders killed"));
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"received {_log.Received:N0} times, {redelivered:N0} messages more than once; settled by an answer "
            + $"{_log.Settled:N0}, no longer the member's {_log.NotOurs:N0}, unanswered {_log.Unanswered:N0}"));
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"all settled {settledIn.TotalSeconds:N2} s after the last fault"));
        return _report.Close(
            "None was lost, none came after its settling was answered, and the ack floor reached the end in time.");
    }

    public async ValueTask DisposeAsync()
    {
        await EndMembersAsync();
        await _client.DisposeAsync();
        await _cluster.DisposeAsync();
    }

    private void StartMember(int at)
    {
        // Each begins at another broker.
        var addresses = Enumerable.Range(0, BrokerCluster.Nodes)
            .Select(i => _cluster.Addresses[(at + i) % BrokerCluster.Nodes]);
        var member = SoakMember.Start(addresses, Group, _log.Hear);
        _readings.Add(member.Reading);
        if (at < _members.Count)
        {
            _members[at] = member;
        }
        else
        {
            _members.Add(member);
        }
    }

    private async Task EndMembersAsync()
    {
        foreach (var member in _members)
        {
            await EndAsync(member);
        }

        _members.Clear();
        await Task.WhenAll(_readings);
    }

    private async Task EndAsync(SoakMember member)
    {
        if (!await member.KillAsync())
        {
            _report.Wrong("a member ended by itself", "its error is above");
        }

        member.Dispose();
    }

    /// <summary>One after the other; each is now killed, now cut off.</summary>
    private async Task FaultMembersAsync(CancellationToken stop)
    {
        for (var turn = 0; await WaitAsync(_settings.Every, stop); turn++)
        {
            var at = turn % Members;
            if (turn / Members % 2 == 0)
            {
                await EndAsync(_members[at]);
                StartMember(at);
                _kills++;
            }
            else
            {
                await _members[at].CutAsync();
                _cuts++;
            }

            Interlocked.Exchange(ref _lastFault, Stopwatch.GetTimestamp());
        }
    }

    private async Task KillLeadersAsync(CancellationToken stop)
    {
        for (var turn = 0; await WaitAsync(_settings.Leaders, stop); turn++)
        {
            var leader = await LoadVerbs.FindLeaderAsync(_client, Topic(turn), CancellationToken.None);
            await _cluster.KillAsync(leader);
            Interlocked.Exchange(ref _lastFault, Stopwatch.GetTimestamp());
            _leaderKills++;
            await Task.Delay(Down, CancellationToken.None);
            _cluster.Start(leader);
            await _cluster.WaitUntilHealthyAsync(leader, CancellationToken.None);
        }
    }

    private static async Task<bool> WaitAsync(TimeSpan time, CancellationToken stop)
    {
        await Task.Delay(time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return !stop.IsCancellationRequested;
    }

    /// <summary>Message n goes to topic n % Topics, at its time.</summary>
    private async Task<Published> PublishAsync(CancellationToken stop)
    {
        var under = new Queue<(long Number, ValueTask<PublishAck> Ack)>();
        var published = new Published([], 0);
        var begun = Stopwatch.GetTimestamp();
        var number = 0L;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        while (!stop.IsCancellationRequested)
        {
            await timer.WaitForNextTickAsync(CancellationToken.None);
            for (; number < Stopwatch.GetElapsedTime(begun).TotalSeconds * _settings.Rate; number++)
            {
                var value = PublishLoad.Payload(SizeBytes);
                BinaryPrimitives.WriteInt64LittleEndian(value, number);
                under.Enqueue((number, _client.PublishAsync(
                    Topic(number), new BrokerMessage { Value = value }, CancellationToken.None)));
            }

            while (under.TryPeek(out var first) && first.Ack.IsCompleted)
            {
                published = await HearAsync(published, under.Dequeue());
            }
        }

        while (under.TryDequeue(out var next))
        {
            published = await HearAsync(published, next);
        }

        return published;
    }

    private static async Task<Published> HearAsync(Published published, (long Number, ValueTask<PublishAck> Ack) next)
    {
        try
        {
            await next.Ack;
            published.Acknowledged.Add(next.Number);
            return published;
        }
        catch (BrokerClientException failure)
        {
            await Console.Error.WriteLineAsync($"message {next.Number} was not answered: {failure.Message}");
            return published with { Unknown = published.Unknown + 1 };
        }
    }

    private async Task<TimeSpan> WaitUntilSettledAsync(Published published, CancellationToken cancellationToken)
    {
        for (var told = 0.0; ;)
        {
            var group = await _client.DescribeGroupAsync(Group, cancellationToken);
            var took = Stopwatch.GetElapsedTime(Interlocked.Read(ref _lastFault));
            var end = group.Progress.Sum(static each => each.NextOffset);
            var isSettled = group.Progress.Count == Math.Min(Topics, published.Count)
                && group.Progress.All(static each => each.AckFloor == each.NextOffset);
            if (!isSettled && took < GiveUp)
            {
                if (took.TotalSeconds > told)
                {
                    told = took.TotalSeconds + 1;
                    Console.WriteLine(string.Create(
                        CultureInfo.InvariantCulture,
                        $"{took.TotalSeconds:N1} s after the last fault: lag {group.Group.Lag:N0}, at members "
                        + $"{group.Progress.Sum(static each => each.Outstanding):N0}, waiting "
                        + $"{group.Progress.Sum(static each => each.Waiting):N0}, members {group.Consumers.Count}"));
                }

                await Task.Delay(20, cancellationToken);
                continue;
            }

            if (took > Aim)
            {
                _report.Wrong(
                    $"not settled within {Aim.TotalSeconds:N0} s of the last fault",
                    string.Join("; ", group.Progress.Where(each => !isSettled || each.Waiting > 0)));
            }

            if (isSettled && (end < published.Acknowledged.Count || end > published.Count))
            {
                _report.Wrong(
                    "the topics do not hold what was acknowledged",
                    $"{end:N0} records; {published.Acknowledged.Count:N0} acknowledged, "
                    + $"{published.Unknown:N0} unknown");
            }

            if (group.Group.DeadLetters != 0)
            {
                _report.Wrong("dead letters, though nobody gave anything up", $"{group.Group.DeadLetters:N0}");
            }

            return took;
        }
    }

    private static string Topic(long number) => $"faults.{number % Topics}";

    private sealed record Published(List<long> Acknowledged, long Unknown)
    {
        public long Count => Acknowledged.Count + Unknown;
    }
}

/// <summary>What all members told, record by record.</summary>
internal sealed class MemberLog
{
    private readonly Lock _lock = new();
    private readonly Dictionary<long, Story> _stories = [];

    public long Received { get; private set; }

    public long Settled { get; private set; }

    public long NotOurs { get; private set; }

    public long Unanswered { get; private set; }

    public void Hear(MemberEvent what, long number, long at, int attempt)
    {
        lock (_lock)
        {
            if (!_stories.TryGetValue(number, out var story))
            {
                _stories.Add(number, story = new Story());
            }

            switch (what)
            {
                case MemberEvent.Received:
                    Received++;
                    story.Times++;
                    (story.ReceivedAt, story.ReceivedAttempt) = at > story.ReceivedAt
                        ? (at, attempt)
                        : (story.ReceivedAt, story.ReceivedAttempt);
                    break;
                case MemberEvent.Settled:
                    Settled++;
                    (story.SettledAt, story.SettledAttempt) = at < story.SettledAt
                        ? (at, attempt)
                        : (story.SettledAt, story.SettledAttempt);
                    break;
                case MemberEvent.NotOurs:
                    NotOurs++;
                    break;
                default:
                    Unanswered++;
                    break;
            }
        }
    }

    /// <summary>Looks for what must not be; call it when all has been heard.</summary>
    /// <returns>Messages that came more than once, as they may.</returns>
    public long Compare(IEnumerable<long> acknowledged, SoakReport report)
    {
        lock (_lock)
        {
            foreach (var number in acknowledged.Where(number => !_stories.ContainsKey(number)))
            {
                report.Wrong("acknowledged to the publisher and never delivered", $"message {number}");
            }

            foreach (var (number, story) in _stories.Where(static each => each.Value.ReceivedAt > each.Value.SettledAt))
            {
                var later = Stopwatch.GetElapsedTime(story.SettledAt, story.ReceivedAt).TotalMilliseconds;
                report.Wrong("delivered after its settling was answered", string.Create(
                    CultureInfo.InvariantCulture,
                    $"message {number}, {later:N1} ms after it; delivery {story.ReceivedAttempt}, settled by "
                    + $"delivery {story.SettledAttempt}, {story.Times} in all"));
            }

            return _stories.Values.LongCount(static story => story.Times > 1);
        }
    }

    private sealed class Story
    {
        public int Times { get; set; }

        public long ReceivedAt { get; set; } = long.MinValue;

        public int ReceivedAttempt { get; set; }

        public long SettledAt { get; set; } = long.MaxValue;

        public int SettledAttempt { get; set; }
    }
}
