using System.Buffers;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Tests.Simulation;

/// <summary>
/// A client that does one thing after the other; each is sent again, to any leader, until it is answered. Nobody else
/// touches what it touches, so it can tell every right answer from a wrong one.
/// </summary>
/// <param name="world">Where it lives.</param>
/// <param name="name">What it touches, for messages.</param>
/// <param name="figure">Counts its steps.</param>
/// <param name="slowness">How many times longer than other clients it waits before a step, at the most.</param>
/// <param name="waitsMs">Where others are quicker, so long, at the most.</param>
internal abstract class StepClient(World world, string name, Figure figure, int slowness = 1, long waitsMs = 0)
{
    private const long AnswerWithinUs = 1_000_000;

    /// <summary>What was sent and is not done; null: nothing.</summary>
    protected ClientStep? Current { get; private set; }

    protected World World => world;

    protected Random Random => world.Random;

    public void Begin() => Soon(Next);

    /// <summary>A command as its bytes.</summary>
    public static byte[] Encode(Action<IBufferWriter<byte>> write)
    {
        var command = new ArrayBufferWriter<byte>();
        write(command);
        return command.WrittenSpan.ToArray();
    }

    /// <summary>What to do next; null: nothing now.</summary>
    protected abstract ClientStep? Choose();

    private void Soon(Action what) => world.Scheduler.After(
        Random.NextInt64(Math.Max(1_000 * waitsMs, slowness * world.ProposeIntervalMaxUs)),
        () =>
        {
            if (world.ClientsAreDone)
            {
                return;
            }

            if (world.ClientsRest)
            {
                Soon(what);
                return;
            }

            what();
        });

    private void Next()
    {
        Current = Choose();
        if (Current is { } step)
        {
            Send(step);
        }
        else
        {
            Soon(Next);
        }
    }

    private void Send(ClientStep step)
    {
        if (step != Current || step.IsAnswered)
        {
            return;
        }

        var leaders = step.Group.Nodes.OfType<ReplicaNode>().Where(static node => node.IsLeader).ToArray();
        if (leaders.Length == 0)
        {
            Soon(() => Send(step));
            return;
        }

        var attempt = ++step.Attempts;
        leaders[Random.Next(leaders.Length)].Propose(step.Command, step.Number, (result, refusal) =>
        {
            step.IsUncertain |= refusal is { Code: RefusalCode.OutcomeUnknown };
            if (step != Current || step.IsAnswered)
            {
                return;
            }

            if (result is { } answer)
            {
                step.IsAnswered = true;
                World.Check(
                    step.Take(answer, step.IsUncertain),
                    $"{name}: {step} is answered {answer} at try {step.Attempts}; {this}");
                world.Figures.Count(figure);
                Finish(step);
            }
            else if (attempt == step.Attempts)
            {
                Soon(() => Send(step));
            }
        });
        world.Scheduler.After(AnswerWithinUs, () =>
        {
            if (step == Current && attempt == step.Attempts && !step.IsAnswered)
            {
                step.IsUncertain = true;
                Send(step);
            }
        });
    }

    private void Finish(ClientStep step)
    {
        if (step.IsDone?.Invoke() == false)
        {
            Soon(() => Finish(step));
            return;
        }

        Current = null;
        Soon(Next);
    }
}

/// <param name="group">Whose leader it is sent to.</param>
/// <param name="what">It, for messages.</param>
/// <param name="command">What is proposed.</param>
/// <param name="number">Of a batch that it stores.</param>
internal sealed class ClientStep(SimulatedGroup group, string what, byte[] command, long? number = null)
{
    public SimulatedGroup Group => group;

    public byte[] Command => command;

    public long? Number => number;

    /// <summary>Whether an answer is right, which may depend on whether an earlier try may have worked.</summary>
    public required Func<CommandResult, bool, bool> Take { get; init; }

    /// <summary>Whether what was answered has come about; null: at once.</summary>
    public Func<bool>? IsDone { get; init; }

    public int Attempts { get; set; }

    /// <summary>What is left is to wait until it is done.</summary>
    public bool IsAnswered { get; set; }

    public bool IsUncertain { get; set; }

    public override string ToString() => what;
}
