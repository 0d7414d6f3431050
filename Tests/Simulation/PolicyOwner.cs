using System.Buffers;
using Broker.Client;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// An operator who says how topics come to be. Nobody else does, so what every replica has at the end is known.
/// </summary>
internal sealed class PolicyOwner(SimulatedGroup group)
    : StepClient(group.World, "policies", Figure.PolicySteps, slowness: 3)
{
    private static readonly string[] Filters = [">", "a.*", "a.b", "a.>", "*"];

    private TopicPolicies _policies = TopicPolicies.Default;

    /// <summary>What they are after the step that was not answered yet.</summary>
    private TopicPolicies? _after;

    /// <summary>When all have applied everything. What was not answered may have been carried out or not.</summary>
    public void CheckEverywhere()
    {
        foreach (var node in group.Nodes.OfType<ReplicaNode>())
        {
            var known = node.Policies;
            World.Check(
                IsSame(known, _policies) || (_after is not null && IsSame(known, _after)),
                $"node {node.Id} has other rules for topics: {known.Templates.Count} templates, auto-create "
                + $"{known.AutoCreate}");
        }
    }

    private static bool IsSame(TopicPolicies left, TopicPolicies right) =>
        left.AutoCreate == right.AutoCreate && left.Templates.SequenceEqual(right.Templates);

    protected override ClientStep Choose()
    {
        var filter = Filters[Random.Next(Filters.Length)];
        var isOn = Random.Next(2) == 0;
        return Random.Next(4) switch
        {
            0 => Change(into => TopicPolicyCommands.WriteDeleteTemplate(into, filter), _policies.Without(filter)),
            1 => Change(into => TopicPolicyCommands.WriteSetAutoCreate(into, isOn), _policies.WithAutoCreate(isOn)),
            _ => Put(new TopicTemplate(
                TopicFilter.Parse(filter),
                Random.Next(4),
                TopicSettingParts.MaxRecords,
                new Topics.TopicSettings { MaxRecords = Random.Next(3) })),
        };
    }

    private ClientStep Put(TopicTemplate template) =>
        Change(into => TopicPolicyCommands.WritePutTemplate(into, template), _policies.With(template));

    private ClientStep Change(Action<IBufferWriter<byte>> write, TopicPolicies after)
    {
        _after = after;
        return new ClientStep(group, "a rule for topics", Encode(write))
        {
            Take = (answer, _) =>
            {
                (_policies, _after) = (after, null);
                return answer.Code == RefusalCode.None;
            },
        };
    }
}
