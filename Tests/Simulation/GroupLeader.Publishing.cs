using Broker.Domain;
using Broker.Groups;
using Broker.State;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <content>
/// Consumers that publish what they have made of records, and finish these, by one command. Some are sent twice, as by
/// a client that has not heard the answer: later, to any leader, when somebody else may have the records.
/// </content>
internal sealed partial class GroupLeader
{
    private const ulong FirstProducer = 900;
    private const long NeverReached = 1_000_000_000;

    /// <summary>Requests under way, by record.</summary>
    private readonly Dictionary<(int Topic, long Offset), int> _publishing = [];

    /// <summary>What is to be done when all is applied that was proposed before.</summary>
    private readonly List<Action> _whenPast = [];
    private bool _isAskingPast;

    /// <summary>Counts how often a topic was followed: what was under way before says nothing.</summary>
    private readonly Dictionary<int, int> _rounds = [];

    private void ForgetPublishing(int topic)
    {
        _rounds[topic] = _rounds.GetValueOrDefault(topic) + 1;
        foreach (var key in _publishing.Keys.Where(key => key.Topic == topic).ToArray())
        {
            _publishing.Remove(key);
        }
    }

    private void CheckNotPublishing(in DeliveryToken token)
    {
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            World.Check(
                !_publishing.ContainsKey((token.Topic, offset)),
                $"node {_node.Id} gives {token.Topic}/{offset}, while what was made of it is being published");
        }
    }

    private void PublishResults()
    {
        for (var left = World.IsCalm ? 0 : Random.Next(3); left > 0; left--)
        {
            if (_client.AnyToken(Number) is { } token
                && _state.Topics.Find(token.Topic)?.Name != GroupHistory.Results)
            {
                Publish(token);
            }
        }

        if (!World.IsCalm && Random.Next(3) == 0 && History.AnyResult(Number) is { } again)
        {
            Publish(again.Token, again.Number, again.Command);
        }
    }

    private void Publish(DeliveryToken token)
    {
        var number = World.NextValue();
        var isWrong = Random.Next(6) == 0;
        var stamp = new PublishStamp(FirstProducer + (ulong)_node.Id.Value, (uint)number, 0);
        byte[] parts =
        [
            .. StepClient.Encode(into => GroupCommands.WriteSettle(
                into, new SettleCommand(Number, token.Topic, token.Turn, [token.Range], []))),
            .. PublishProposal.Encode(
                GroupHistory.Results, stamp, 1, number, isWrong ? NeverReached : null),
        ];
        var command = new byte[CommandSequence.HeaderBytes + parts.Length];
        parts.CopyTo(command, AtomicCommands.WriteHeader(command, CommandKind.PublishAndSettle, parts.Length));
        if (!isWrong)
        {
            History.KeepResult(Number, token, number, command);
        }

        Publish(token, number, command);
    }

    private void Publish(DeliveryToken token, long number, byte[] command)
    {
        var lost = new List<long>();
        _dispatcher.Settling.FindLost(token, lost);
        if (lost.Count > 0)
        {
            return;
        }

        _dispatcher.Settling.BeginPublishing(token);
        var round = _rounds[token.Topic];
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            _publishing[(token.Topic, offset)] = _publishing.GetValueOrDefault((token.Topic, offset)) + 1;
        }

        _node.Propose(command, number, (result, refusal) =>
        {
            World.Check(
                result is not { } answer || answer.Code is RefusalCode.None or RefusalCode.LeaseLost
                    or RefusalCode.ProducerFenced or RefusalCode.UnexpectedOffset or RefusalCode.TooManyProducers,
                $"a result of the group is answered {result}");
            if (refusal?.Code == RefusalCode.OutcomeUnknown)
            {
                AskPast(() => End(token, round, IsFinished(token)));
                return;
            }

            var isDone = result is { Code: RefusalCode.None };
            if (isDone)
            {
                History.CheckResult(_node, number);
            }

            End(token, round, isDone);
        });
    }

    /// <summary>
    /// It has an outcome that is not known yet, which is known when what is behind it in the log is. Asked in a later
    /// round, for all that wait then: it may be refused at once.
    /// </summary>
    private void AskPast(Action then) => _whenPast.Add(then);

    private void FindOutcomes()
    {
        if (_isAskingPast || _whenPast.Count == 0)
        {
            return;
        }

        _isAskingPast = true;
        Action[] asked = [.. _whenPast];
        _whenPast.Clear();
        _node.Propose(
            StepClient.Encode(into => GroupCommands.WriteBarrier(into, Number)),
            null,
            (result, _) =>
            {
                _isAskingPast = false;
                Array.ForEach(asked, then => (result is null ? () => AskPast(then) : then)());
            });
    }

    private bool IsFinished(in DeliveryToken token)
    {
        var progress = _here.Find(token.Topic);
        return progress?.Turn == token.Turn
            && progress.Settled.FirstMissing(token.Range.First) >= token.Range.End;
    }

    private void End(in DeliveryToken token, int round, bool isDone)
    {
        if (_rounds[token.Topic] == round)
        {
            End(token);
        }

        if (isDone)
        {
            History.CheckAcked(_node, Number, token);
        }

        _dispatcher.Settling.EndPublishing(token, isDone, NowMs);
    }

    /// <summary>Those below the floor that a command has settled of which this leader has not heard yet.</summary>
    private int CountPublishing(int topic, long floor) => _publishing.Keys.Count(key =>
        key.Topic == topic && key.Offset < floor && _dispatcher.PlaceOf(topic, key.Offset, NowMs) == "Publishing");

    private void End(in DeliveryToken token)
    {
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            if (--_publishing[(token.Topic, offset)] == 0)
            {
                _publishing.Remove((token.Topic, offset));
            }
        }
    }
}
