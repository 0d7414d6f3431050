using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// What a node has in memory of the consumer group while it leads a shard in one term: the real dispatcher. Time passes
/// for it, and records leave it, in rounds.
/// </summary>
internal sealed partial class GroupLeader
{
    private const int LooksAtOnce = 20;

    private readonly GroupClient _client;
    private readonly ReplicaNode _node;
    private readonly GroupProgressModule _state;
    private readonly GroupHere _here;
    private readonly Term _term;
    private readonly GroupDispatcher _dispatcher;
    private readonly Task<LogIndex> _begin;
    private readonly HashSet<int> _followed = [];

    /// <summary>Topics that filters have left out, while what was proposed before may be under way.</summary>
    private readonly HashSet<int> _left = [];
    private readonly List<int> _consumers = [];
    private readonly Dictionary<long, (SettleKind Kind, DeliveryToken Token)> _asked = [];
    private GroupFilters _filters;
    private int _lastConsumer;
    private long _lastRequest;

    public GroupLeader(GroupClient client, ReplicaNode node, GroupHere here, ConsumerGroupSettings settings)
    {
        (_client, _node, _state, _here, _term) = (client, node, node.Groups!, here, node.Term);
        _begin = node.AskIndex();
        _dispatcher = new GroupDispatcher(node.Term, settings);
        _filters = new GroupFilters(settings.Filters);
    }

    /// <summary>
    /// It has applied what leaders before it have committed: what they settled must not be given out.
    /// </summary>
    public bool HasBegun =>
        _begin.IsCompletedSuccessfully && _node.AppliedIndex >= PendingCalls.ResultOf(_begin);

    private World World => _client.World;

    private Random Random => World.Random;

    private GroupHistory History => _client.History;

    /// <summary>A clock that does not jump.</summary>
    private long NowMs => _node.SteadyMs;

    private int Number => _here.Number;

    public bool IsOf(GroupHere here) => !_begin.IsFaulted && !_begin.IsCanceled && _node.Term == _term
        && ReferenceEquals(_node.Groups, _state) && ReferenceEquals(here, _here);

    public void OnChanged(int number, int topic)
    {
        if (number == Number && _followed.Remove(topic))
        {
            _dispatcher.Unfollow(topic);
        }
    }

    public void Serve(ConsumerGroupSettings settings)
    {
        if (_dispatcher.Settings != settings)
        {
            _filters = new GroupFilters(settings.Filters);
        }

        _dispatcher.Settings = World.IsCalm ? settings with { MaxOutstanding = 10_000 } : settings;
        ChangeConsumers();
        FollowTopics();
        _dispatcher.PassTime(NowMs);
        CheckPlaces();
        Give();
        for (var i = World.IsCalm ? 0 : Random.Next(1, 8); i > 0; i--)
        {
            if (_client.AnyToken(Number) is { } token)
            {
                Ask((SettleKind)Math.Max(0, Random.Next(-4, 4)), token);
            }
        }

        PublishResults();
        FindOutcomes();
        Commit();
        foreach (var answer in _dispatcher.Settling.TakeAnswers())
        {
            World.Check(_asked.Remove(answer.Id, out var asked), $"node {_node.Id} answers a request once");
            if (answer.Lost == 0 && asked.Kind == SettleKind.Ack)
            {
                History.CheckAcked(_node, Number, asked.Token);
            }
        }
    }

    private void ChangeConsumers()
    {
        if (_consumers.Count > 0 && !World.IsCalm && Random.Next(8) == 0)
        {
            var gone = Random.Next(_consumers.Count);
            _dispatcher.RemoveConsumer(_consumers[gone]);
            _consumers.RemoveAt(gone);
        }

        if (_consumers.Count == 0 || (_consumers.Count < 3 && Random.Next(4) == 0))
        {
            _consumers.Add(++_lastConsumer);
            _dispatcher.AddConsumer(_lastConsumer, new ConsumerRank(Random.Next(100), 1, _lastConsumer));
        }
    }

    private void FollowTopics()
    {
        foreach (var topic in _state.Topics.Numbered)
        {
            var (number, next) = (topic.Number, topic.Parts.Memory.NextOffset);
            if (!_filters.Matches(topic.Name))
            {
                Leave(number);
            }
            else if (!_left.Contains(number) && _followed.Add(number))
            {
                World.Check(topic.Name != GroupOperator.DeadLetters, $"node {_node.Id} delivers dead letters again");
                var progress = _here.Find(number);
                History.NoteFollowed(Number, number, progress?.Turn ?? 0, _term);
                ForgetPublishing(number);
                _dispatcher.Follow(number, progress, next, NowMs);
            }

            _dispatcher.OnAppended(number, next);
            History.NotePurged(number, topic.Parts.FirstOffset);
            _dispatcher.OnPurged(number, topic.Parts.FirstOffset);
        }

        foreach (var gone in _followed.Where(number => _state.Topics.Find(number) is null).ToArray())
        {
            OnChanged(Number, gone);
        }
    }

    /// <summary>
    /// The group's filters leave it out. When they take it in again, it is followed as soon as all is applied that was
    /// proposed until now.
    /// </summary>
    private void Leave(int topic)
    {
        if (_followed.Contains(topic))
        {
            OnChanged(Number, topic);
            _left.Add(topic);
            AskPast(() => _left.Remove(topic));
        }
    }

    /// <summary>A record is settled, or in one place of the leader's memory.</summary>
    private void CheckPlaces()
    {
        foreach (var topic in _followed.Select(number => _state.Topics.Find(number)!))
        {
            var next = topic.Parts.Memory.NextOffset;
            for (var looks = 0; looks < LooksAtOnce && next > 0; looks++)
            {
                var offset = looks < LooksAtOnce / 2 ? Math.Max(0, next - 1 - looks) : Random.NextInt64(next);
                CheckPlace(topic, offset);
            }
        }

        World.Check(
            World.IsCalm || CountOut() == _dispatcher.Out,
            $"node {_node.Id} counts {_dispatcher.Out} records at consumers");
    }

    private void CheckPlace(TopicState topic, long offset)
    {
        // What is settled by a command of which this leader has not heard yet that it has committed is on its way.
        var place = _dispatcher.PlaceOf(topic.Number, offset, NowMs);
        var isSettled = _here.Find(topic.Number)?.Settled.Contains(offset) == true;
        World.Check(
            (isSettled
                ? place is "Settled" or "Settling" or "Dying" or "Publishing"
                : place is not "Settled" and not "None")
                || offset < topic.Parts.FirstOffset,
            $"node {_node.Id} has {topic.Name}/{offset} as {place}, and settled is {isSettled}");
    }

    private int CountOut()
    {
        var count = 0;
        foreach (var topic in _followed.Select(number => _state.Topics.Find(number)!))
        {
            var (floor, next) = (_here.Find(topic.Number)?.Settled.Floor ?? 0, topic.Parts.Memory.NextOffset);
            count += CountPublishing(topic.Number, floor);
            for (var offset = floor; offset < next; offset++)
            {
                count += _dispatcher.PlaceOf(topic.Number, offset, NowMs) is "Out" or "Publishing" ? 1 : 0;
            }
        }

        return count;
    }

    /// <summary>As much as can be read just now.</summary>
    private void LookUpKeys()
    {
        while (_dispatcher.TryWantKeys(out var topic, out var range) && (World.IsCalm || Random.Next(4) > 0))
        {
            var keys = new RecordKey[World.IsCalm ? range.Count : Random.NextInt64(1, range.Count + 1)];
            for (var i = 0; i < keys.Length; i++)
            {
                keys[i] = GroupHistory.KeyOf(topic, range.First + i);
            }

            _dispatcher.AddKeys(topic, range.First, keys);
        }
    }

    private void Give()
    {
        LookUpKeys();
        foreach (var consumer in _consumers)
        {
            _dispatcher.AddCredit(consumer, World.IsCalm ? 1_000 : Random.Next(5), 1_000);
        }

        var left = World.IsCalm ? 200 : Random.Next(12);
        for (; left > 0 && _dispatcher.TryGive(NowMs, out var given); left--)
        {
            var token = given.Token;
            var settings = _dispatcher.Settings;
            World.Check(
                !settings.IsPaused && token.Attempt <= settings.MaxDeliveries && _consumers.Contains(given.Consumer)
                    && _dispatcher.Out <= settings.MaxOutstanding,
                $"node {_node.Id} gives {token} to {given.Consumer} with {_dispatcher.Out} out and {settings}");
            History.CheckGiven(_node, Number, token, NowMs);
            if (settings.Mode == ConsumerGroupMode.KeyOrdered)
            {
                History.CheckKeyOrder(_node, Number, token);
            }

            CheckNotPublishing(token);
            if (!TryPassOver(ref token) && !TryGiveUp(ref token))
            {
                for (var offset = token.Range.First; offset < token.Range.End; offset++)
                {
                    History.CheckDue(_node, token.Topic, offset, DueTopic.IsOne(_state.Topics.Find(token.Topic)!.Name));
                }

                World.Figures.Count(Figure.GroupDeliveries);
                _client.Keep(Number, token);
                if (World.IsCalm)
                {
                    Ask(SettleKind.Ack, token);
                }
            }
        }
    }

    /// <summary>
    /// Of what is delayed nothing is sent where it stands, nor by its reference when it is gone: the first ones are
    /// passed over, and what is behind the next one is taken back. True: nothing is left.
    /// </summary>
    private bool TryPassOver(ref DeliveryToken token)
    {
        var (topic, first) = (token.Topic, token.Range.First);
        var isOver = IsPassedOver(topic, first);
        var end = first;
        while (end < token.Range.End && IsPassedOver(topic, end) == isOver)
        {
            end++;
        }

        if (isOver)
        {
            var over = token with { Range = new OffsetRange(first, end) };
            _dispatcher.Skip(token, over.Range);
            History.NoteExpired(Number, over);
            token = token with { Range = token.Range with { First = end } };
            return token.Range.Count == 0 || TryPassOver(ref token);
        }

        if (end < token.Range.End)
        {
            var back = token with { Range = token.Range with { First = end } };
            _dispatcher.TakeBack(token, back.Range, NowMs);
            History.NoteTakenBack(Number, back);
            token = token with { Range = token.Range with { End = end } };
        }

        return false;
    }

    private bool IsPassedOver(int topic, long offset) =>
        History.IsDelayed(topic, offset) || (History.TargetOf(topic, offset) is { } target && IsGone(target));

    private bool IsGone((int Topic, long Offset) record) =>
        _state.Topics.Find(record.Topic) is not { } topic || record.Offset < topic.Parts.FirstOffset;

    /// <summary>
    /// What was purged meanwhile cannot be sent, of some records the time to live is over, others cannot be sent now.
    /// </summary>
    private bool TryGiveUp(ref DeliveryToken token)
    {
        var first = _state.Topics.Find(token.Topic)!.Parts.FirstOffset;
        var whim = World.IsCalm ? 0 : Random.Next(20);
        if (token.Range.First < first)
        {
            History.NotePurged(token.Topic, first);
            _dispatcher.Skip(token, token.Range with { End = Math.Min(token.Range.End, first) });
            return token.Range.End <= first;
        }

        if (whim == 1)
        {
            _dispatcher.TakeBack(token, token.Range, NowMs);
        }
        else if (whim == 2)
        {
            for (var offset = token.Range.First; offset < token.Range.End; offset++)
            {
                _dispatcher.Delay(token, offset, NowMs + Random.Next(300));
            }
        }
        else if (whim == 3)
        {
            var over = token.Range with { End = token.Range.First + 1 + Random.NextInt64(token.Range.Count) };
            _dispatcher.Expire(token, over);
            History.NoteExpired(Number, token with { Range = over });
            World.Figures.Count(Figure.GroupExpired);
            token = token with { Range = token.Range with { First = over.End } };
            return token.Range.Count == 0;
        }
        else
        {
            return false;
        }

        History.NoteTakenBack(Number, token);
        return true;
    }

    private void Ask(SettleKind kind, in DeliveryToken token)
    {
        long? delayMs = Random.Next(3) == 0 ? Random.Next(400) : null;
        var request = new SettleRequest(++_lastRequest, kind, token, delayMs, "no");
        _asked.Add(request.Id, (kind, token));
        var lengthMs = delayMs is > 0 and var delay ? delay : _dispatcher.Settings.AckWaitMs;
        History.NoteAsked(Number, kind, token, _term, NowMs, lengthMs);
        _dispatcher.Settling.Settle(request, NowMs);
    }

    private void Commit()
    {
        while (_dispatcher.Settling.TryTakeCommand(NowMs, Number, out var command))
        {
            var taken = command;
            Propose(
                StepClient.Encode(into => GroupCommands.WriteSettle(into, taken)),
                code => _dispatcher.Settling.OnSettled(taken, code, NowMs));
        }

        while (_dispatcher.Dying.TryTake(NowMs, out var dying))
        {
            Bury(dying);
        }
    }

    private void Bury(DyingRecord dying)
    {
        var topic = _state.Topics.Find(dying.Topic)!;
        History.CheckDying(Number, dying);
        if (dying.Offset < topic.Parts.FirstOffset
            || (History.TargetOf(dying.Topic, dying.Offset) is { } target && IsGone(target)))
        {
            History.NotePurged(dying.Topic, topic.Parts.FirstOffset);
            _dispatcher.Dying.OnGone(dying.Topic, dying.Turn, dying.Offset);
            return;
        }

        if (!_node.Topics.TryGetTopic(GroupOperator.DeadLetters, out var dead))
        {
            Propose(
                StepClient.Encode(static into =>
                    TopicCommands.WriteCreateTopic(into, GroupOperator.DeadLetters, TopicSettings.Default)),
                static _ => { });
            _dispatcher.Dying.OnBuried(dying.Topic, dying.Turn, dying.Offset, RefusalCode.NotFound, NowMs);
            return;
        }

        var batch = PublishProposal.Batch(History.DeadNumber(Number, dying));
        Propose(
            StepClient.Encode(into => GroupCommands.WriteBury(
                into, Number, dying.Topic, dying.Turn, dying.Offset, dead.Number, batch)),
            code => _dispatcher.Dying.OnBuried(dying.Topic, dying.Turn, dying.Offset, code, NowMs));
    }

    /// <summary>
    /// A refusal, and that the outcome is not known, mean that it is tried again: what is settled twice is settled.
    /// </summary>
    private void Propose(byte[] command, Action<RefusalCode> done) => _node.Propose(command, null, (result, refusal) =>
    {
        World.Check(
            result is not { } answer || answer.Code is RefusalCode.None or RefusalCode.NotFound
                or RefusalCode.FailedPrecondition or RefusalCode.AlreadyExists,
            $"a command of the group is answered {result}");
        done(result?.Code ?? refusal!.Code);
    });
}
