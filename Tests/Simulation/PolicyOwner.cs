using System.Buffers;
using Broker.Client;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// An operator who says how topics come to be, one thing after the other; each is sent again, anywhere, until it is
/// answered. Nobody else does, so what every replica has at the end is known.
/// </summary>
internal sealed class PolicyOwner(SimulatedGroup group)
{
    private const long AnswerWithinUs = 1_000_000;

    private static readonly string[] Filters = [">", "a.*", "a.b", "a.>", "*"];

    private TopicPolicies _policies = TopicPolicies.Default;
    private Step? _step;

    private World World => group.World;

    private Random Random => World.Random;

    public void Begin() => Soon(Next);

    /// <summary>When all have applied everything. What was not answered may have been carried out or not.</summary>
    public void CheckEverywhere()
    {
        foreach (var node in group.Nodes.OfType<ReplicaNode>())
        {
            var known = node.Policies;
            World.Check(
                IsSame(known, _policies) || (_step is { } step && IsSame(known, step.After)),
                $"node {node.Id} has other rules for topics: {known.Templates.Count} templates, auto-create "
                + $"{known.AutoCreate}");
        }
    }

    private static bool IsSame(TopicPolicies left, TopicPolicies right) =>
        left.AutoCreate == right.AutoCreate && left.Templates.SequenceEqual(right.Templates);

    private void Soon(Action what) =>
        World.Scheduler.After(Random.NextInt64(3 * World.ProposeIntervalMaxUs), () =>
        {
            if (World.ClientsAreDone)
            {
                return;
            }

            if (World.ClientsRest)
            {
                Soon(what);
                return;
            }

            what();
        });

    private void Next()
    {
        var filter = Filters[Random.Next(Filters.Length)];
        var isOn = Random.Next(2) == 0;
        _step = Random.Next(4) switch
        {
            0 => new Step(
                Command(into => TopicPolicyCommands.WriteDeleteTemplate(into, filter)), _policies.Without(filter)),
            1 => new Step(
                Command(into => TopicPolicyCommands.WriteSetAutoCreate(into, isOn)), _policies.WithAutoCreate(isOn)),
            _ => Put(new TopicTemplate(
                TopicFilter.Parse(filter),
                Random.Next(4),
                TopicSettingParts.MaxRecords,
                new Topics.TopicSettings { MaxRecords = Random.Next(3) })),
        };
        Send(_step);
    }

    private Step Put(TopicTemplate template) =>
        new(Command(into => TopicPolicyCommands.WritePutTemplate(into, template)), _policies.With(template));

    private void Send(Step step)
    {
        if (step != _step)
        {
            return;
        }

        var leaders = group.Nodes.OfType<ReplicaNode>().Where(node => node.IsLeader).ToArray();
        if (leaders.Length == 0)
        {
            Soon(() => Send(step));
            return;
        }

        var attempt = ++step.Attempts;
        leaders[Random.Next(leaders.Length)].Propose(step.Command, null, (result, _) =>
        {
            if (step != _step)
            {
                return;
            }

            if (result is { } answer)
            {
                World.Check(answer.Code == RefusalCode.None, $"a rule for topics is answered {answer}");
                World.Figures.Count(Figure.PolicySteps);
                (_policies, _step) = (step.After, null);
                Soon(Next);
            }
            else if (attempt == step.Attempts)
            {
                Soon(() => Send(step));
            }
        });
        World.Scheduler.After(AnswerWithinUs, () =>
        {
            if (step == _step && attempt == step.Attempts)
            {
                Send(step);
            }
        });
    }

    private static byte[] Command(Action<IBufferWriter<byte>> write)
    {
        var into = new ArrayBufferWriter<byte>();
        write(into);
        return into.WrittenSpan.ToArray();
    }

    private sealed class Step(byte[] command, TopicPolicies after)
    {
        public byte[] Command => command;

        public TopicPolicies After => after;

        public int Attempts { get; set; }
    }
}
