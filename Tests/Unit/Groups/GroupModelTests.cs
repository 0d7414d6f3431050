using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Groups;

public sealed class GroupModelTests
{
    public static TheoryData<int, ConsumerGroupMode, ConsumerGroupOrder> Runs
    {
        get
        {
            var runs = new TheoryData<int, ConsumerGroupMode, ConsumerGroupOrder>();
            for (var seed = 1; seed <= 6; seed++)
            {
                runs.Add(seed, ConsumerGroupMode.Shared, (ConsumerGroupOrder)(seed % 3));
                runs.Add(seed, ConsumerGroupMode.KeyOrdered, (ConsumerGroupOrder)(seed % 3));
                runs.Add(seed, ConsumerGroupMode.Exclusive, ConsumerGroupOrder.Offset);
            }

            return runs;
        }
    }

    [Theory]
    [MemberData(nameof(Runs))]
    public void A_record_is_in_one_place_its_order_is_kept_and_all_come_to_an_end(
        int seed, ConsumerGroupMode mode, ConsumerGroupOrder order) => new GroupModel(seed, mode, order).Run(1_500);
}

/// <summary>
/// A leader's dispatcher over a real shard, with consumers that do anything, leaders that come and go in between, seeks
/// and purges. At every step a record is in one place, and what is settled was finished by somebody.
/// </summary>
internal sealed class GroupModel
{
    private const int Group = 1;
    private const int Topics = 3;
    private const int DeadLetters = 3;
    private const int MaxDeliveries = 4;

    private readonly ConsumerGroupSettings _settings;
    private readonly GroupMachine _shard = new();
    private readonly Random _random;
    private readonly List<DeliveryToken> _tokens = [];

    // What some consumer has acked, terminated, or what was purged or died: only that may be settled.
    private readonly HashSet<(int Topic, long Offset)> _mayEnd = [];

    private readonly HashSet<(int Topic, long Offset)> _purged = [];
    private GroupDispatcher _group;
    private long _term;
    private long _now = 1_000_000;
    private long _request;
    private bool _isSecondFirst;

    public GroupModel(int seed, ConsumerGroupMode mode, ConsumerGroupOrder order)
    {
        _random = new Random(seed);
        _settings = new ConsumerGroupSettings
        {
            Filters = [">"],
            Mode = mode,
            Order = order,
            AckWaitMs = 200,
            MaxDeliveries = MaxDeliveries,
            MaxOutstanding = 12,
            BackOffMs = [0, 50],
        };
        for (var topic = 0; topic < Topics; topic++)
        {
            _shard.Publish($"t{topic}", 5);
        }

        _shard.Apply(static into => TopicCommands.WriteCreateTopic(into, "$dlq.g", TopicSettings.Default));
        _shard.Open(Group);
        _group = Elect();
    }

    public void Run(int steps)
    {
        for (var step = 0; step < steps; step++)
        {
            Step();
            Check();
        }

        // Consumers that work now finish everything, whatever was before.
        for (var round = 0; round < 400; round++)
        {
            Pass(100);
            while (TryGive(out var token))
            {
                Ask(SettleKind.Ack, token);
            }

            Commit(lose: false);
            Check();
        }

        for (var topic = 0; topic < Topics; topic++)
        {
            var next = Next(topic);
            Assert.Equal(next, _shard.Of(Group, topic).Settled.Floor);
        }

        Assert.True(_shard.Machine.TryGetTopic("$dlq.g", out var dead));
        Assert.Equal(dead.NextOffset, Enumerable.Range(0, Topics).Sum(topic => _shard.Of(Group, topic).Dead));
        Assert.True(dead.NextOffset > 0);
    }

    private void Step()
    {
        switch (_random.Next(14))
        {
            case 0 or 1:
                var topic = _random.Next(Topics);
                _shard.Publish($"t{topic}", _random.Next(1, 6));
                _group.OnAppended(topic, Next(topic));
                break;
            case 2 or 3 or 4 when TryGive(out var token):
                _tokens.Add(token);
                break;
            case 5 or 6 or 7 when _tokens.Count > 0:
                Use(_tokens[_random.Next(_tokens.Count)]);
                break;
            case 8 or 9:
                Pass(_random.Next(60));
                break;
            case 10 when _random.Next(4) == 0:
                // What was under way may have been committed, and nobody knows.
                Commit(lose: true);
                _group = Elect();
                break;
            case 11 when _random.Next(8) == 0:
                Seek(_random.Next(Topics));
                break;
            case 12 when _random.Next(8) == 0:
                Purge(_random.Next(Topics));
                break;
            default:
                Commit(lose: false);
                break;
        }
    }

    private void Use(DeliveryToken token)
    {
        var first = token.Range.First + _random.NextInt64(token.Range.Count);
        var end = first + 1 + _random.NextInt64(token.Range.End - first);
        var part = token with { Range = new OffsetRange(first, end) };
        var kind = (SettleKind)Math.Max(0, _random.Next(-3, 4));
        if (kind is SettleKind.Ack or SettleKind.Terminate)
        {
            for (var offset = part.Range.First; offset < part.Range.End; offset++)
            {
                _mayEnd.Add((part.Topic, offset));
            }
        }

        Ask(kind, part, _random.Next(3) == 0 ? _random.Next(100) : null);
    }

    private void Ask(SettleKind kind, DeliveryToken token, long? delayMs = null)
    {
        _group.Settling.Settle(new SettleRequest(++_request, kind, token, delayMs, "no"), _now);
        for (var offset = token.Range.First; kind == SettleKind.Ack && offset < token.Range.End; offset++)
        {
            _mayEnd.Add((token.Topic, offset));
        }
    }

    private bool TryGive(out DeliveryToken token)
    {
        token = default;
        LookUpKeys();
        _group.AddCredit(1, 5, 1_000);
        _group.AddCredit(2, 5, 1_000);
        var fresh = _settings.Mode == ConsumerGroupMode.Exclusive ? In("Fresh") : [];
        var waiting = _settings.Order == ConsumerGroupOrder.Priority ? In("Waiting") : [];
        var isShared = _settings.Mode == ConsumerGroupMode.Shared;
        waiting.RemoveWhere(each => !isShared && KeyOf(each.Topic, each.Offset).Key != 0);
        waiting.UnionWith(isShared && _settings.Order == ConsumerGroupOrder.Priority ? In("Fresh") : []);
        if (!_group.TryGive(_now, out var given))
        {
            return false;
        }

        token = given.Token;
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            Assert.InRange(given.Token.Attempt, 1, MaxDeliveries);
            Assert.Equal("Out", _group.PlaceOf(token.Topic, offset, _now));
            CheckOrder(given.Consumer, token, offset, fresh.Contains((token.Topic, offset)));
        }

        // What could have gone, is left, and is not of a higher priority; new or not.
        var priority = KeyOf(token.Topic, token.Range.First).Priority;
        foreach (var (topic, offset) in waiting.Where(each => KeyOf(each.Topic, each.Offset).Priority > priority))
        {
            Assert.True(
                _group.PlaceOf(topic, offset, _now) is not ("Waiting" or "Fresh"),
                $"{token.Topic}/{token.Range.First} passes {topic}/{offset}");
        }

        return true;
    }

    /// <summary>What is before it is finished, where that counts.</summary>
    private void CheckOrder(int consumer, DeliveryToken token, long offset, bool isFresh)
    {
        var key = KeyOf(token.Topic, offset);
        for (var before = 0L; before < offset; before++)
        {
            var at = (token.Topic, before);
            if (_settings.Mode == ConsumerGroupMode.KeyOrdered && key.Key != 0
                && KeyOf(token.Topic, before).Key == key.Key)
            {
                var settled = _shard.Progress.Groups[Group].Find(token.Topic)?.Settled;
                Assert.True(settled?.Contains(before) == true || _purged.Contains(at), $"{offset} passes {before}");
            }
            else if (_settings.Mode == ConsumerGroupMode.Exclusive)
            {
                Assert.Equal(_isSecondFirst ? 2 : 1, consumer);
                var place = _group.PlaceOf(token.Topic, before, _now);
                Assert.True(
                    !isFresh || place is "Out" or "Settling" or "Settled" || _purged.Contains(at),
                    $"{offset} passes {before}, which is {place}");
            }
        }
    }

    private HashSet<(int Topic, long Offset)> In(string place)
    {
        var found = new HashSet<(int, long)>();
        for (var topic = 0; topic < Topics; topic++)
        {
            for (var offset = 0L; offset < Next(topic); offset++)
            {
                if (_group.PlaceOf(topic, offset, _now) == place)
                {
                    found.Add((topic, offset));
                }
            }
        }

        return found;
    }

    private void LookUpKeys()
    {
        while (_group.TryWantKeys(out var topic, out var range))
        {
            var count = _random.NextInt64(1, range.Count + 1);
            var keys = new RecordKey[count];
            for (var i = 0; i < count; i++)
            {
                keys[i] = KeyOf(topic, range.First + i);
            }

            _group.AddKeys(topic, range.First, keys);
        }
    }

    /// <summary>Few keys, some records without one.</summary>
    private static RecordKey KeyOf(int topic, long offset)
    {
        var hash = unchecked((uint)((offset * 7919) + topic) * 2654435761U);
        return new RecordKey((hash >> 8) % 5, (byte)((hash >> 16) % 10));
    }

    private void Pass(long milliseconds)
    {
        _now += milliseconds;
        _group.PassTime(_now);
    }

    /// <param name="lose">The answers do not come, and half of it did not happen.</param>
    private void Commit(bool lose)
    {
        while (_group.Settling.TryTakeCommand(_now, Group, out var command))
        {
            var floor = _shard.Progress.Groups[Group].Find(command.Topic)?.Settled.Floor ?? 0;
            if (!lose || _random.Next(2) == 0)
            {
                var result = _shard.Settle(command);
                Assert.Equal(RefusalCode.None, result.Code);
                Assert.True(result.BaseOffset >= floor);
                if (!lose)
                {
                    _group.Settling.OnSettled(command, result.Code, _now);
                }
            }
        }

        while (_group.Dying.TryTake(_now, out var dying))
        {
            _mayEnd.Add((dying.Topic, dying.Offset));
            if (lose && _random.Next(2) == 0)
            {
                continue;
            }

            var result = _shard.Bury(Group, dying.Topic, dying.Turn, dying.Offset, DeadLetters);
            Assert.Equal(RefusalCode.None, result.Code);
            Assert.False(result.Duplicate);
            if (!lose)
            {
                _group.Dying.OnBuried(dying.Topic, dying.Turn, dying.Offset, result.Code, _now);
            }
        }
    }

    private void Seek(int topic)
    {
        var offset = _random.NextInt64(Next(topic) + 1);
        _shard.Apply(into => GroupCommands.WriteSeek(into, Group, topic, offset));
        _group.Follow(topic, _shard.Of(Group, topic), Next(topic), _now);
        _mayEnd.RemoveWhere(each => each.Topic == topic);
        for (var before = 0L; before < offset; before++)
        {
            _mayEnd.Add((topic, before));
        }
    }

    private void Purge(int topic)
    {
        var first = _random.NextInt64(Next(topic) + 1);
        for (var offset = 0L; offset < first; offset++)
        {
            _mayEnd.Add((topic, offset));
            _purged.Add((topic, offset));
        }

        _group.OnPurged(topic, first);
    }

    private GroupDispatcher Elect()
    {
        var group = new GroupDispatcher(new Term(++_term), _settings);
        for (var topic = 0; topic < Topics; topic++)
        {
            group.Follow(topic, _shard.Progress.Groups[Group].Find(topic), Next(topic), _now);
        }

        _isSecondFirst = _random.Next(2) == 0;
        group.AddConsumer(1, new ConsumerRank(5, 1, 1));
        group.AddConsumer(2, new ConsumerRank(_isSecondFirst ? 4 : 5, 2, 1));
        return group;
    }

    private List<long> Peek(int topic, PeekState state)
    {
        var found = new List<long>();
        while (_group.Peek(topic, state, found.LastOrDefault(-1) + 1, most: 20, _now) is { Count: > 0 } page)
        {
            Assert.InRange(page.Count, 1, 20);
            found.AddRange(page.Select(static each => each.Offset));
        }

        return found;
    }

    private long Next(int topic) => _shard.Progress.Topics.Find(topic)!.Parts.Memory.NextOffset;

    private void Check()
    {
        for (var topic = 0; topic < Topics; topic++)
        {
            var settled = _shard.Progress.Groups[Group].Find(topic)?.Settled ?? new SettledOffsets(0);
            var states = new Dictionary<PeekState, List<long>>
            {
                [PeekState.Waiting] = [],
                [PeekState.Outstanding] = [],
                [PeekState.Delayed] = [],
            };
            for (var offset = 0L; offset < Next(topic); offset++)
            {
                var place = _group.PlaceOf(topic, offset, _now);
                if (place is not ("Settling" or "Settled" or "Dying"))
                {
                    states[place switch
                    {
                        "Out" => PeekState.Outstanding,
                        "Delayed" => PeekState.Delayed,
                        _ => PeekState.Waiting,
                    }].Add(offset);
                }

                var isSettled = settled.Contains(offset);
                Assert.True(
                    !isSettled || _mayEnd.Contains((topic, offset)), $"{topic}/{offset} is settled by nobody");
                Assert.True(
                    isSettled == (place == "Settled") || _purged.Contains((topic, offset)),
                    $"{topic}/{offset} is {place}, and settled: {isSettled}");
            }

            if (_request % 8 == 0)
            {
                Assert.All(states, each => Assert.Equal(each.Value, Peek(topic, each.Key)));
            }
        }
    }
}
