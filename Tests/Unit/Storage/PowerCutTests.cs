using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

/// <summary>
/// Cuts the power (or kills the process) in every single operation of a random workload, and checks what recovery
/// finds.
/// </summary>
public sealed class PowerCutTests
{
    public static TheoryData<SimulatedDeviceCrash> Modes =>
        [SimulatedDeviceCrash.DropUnsynced, SimulatedDeviceCrash.KeepUnsynced, SimulatedDeviceCrash.Shuffle];

    [Theory]
    [MemberData(nameof(Modes))]
    public void Power_cut_in_any_operation_leaves_a_legal_log(SimulatedDeviceCrash mode)
    {
        for (var seed = 1; seed <= 4; seed++)
        {
            var cutAt = 1L;
            while (Run(seed, cutAt, mode, isKill: false))
            {
                cutAt++;
            }

            Assert.InRange(cutAt, 30, 2000);
        }
    }

    [Fact]
    public void Kill_in_any_operation_followed_by_a_power_cut_leaves_a_legal_log()
    {
        for (var seed = 101; seed <= 103; seed++)
        {
            var cutAt = 1L;
            while (Run(seed, cutAt, SimulatedDeviceCrash.Shuffle, isKill: true))
            {
                cutAt++;
            }
        }
    }

    /// <summary>False when the workload ended before the cut.</summary>
    private static bool Run(int seed, long cutAt, SimulatedDeviceCrash mode, bool isKill)
    {
        var fixture = new LogFixture(seed * 1_000_003 + (int)cutAt);
        var random = new Random(seed);
        var model = new Model();
        fixture.Device.PowerCutAt = cutAt;
        var isCut = false;
        try
        {
            var log = fixture.Open();
            for (var i = 0; i < 14; i++)
            {
                model.Begin(NextWrite(random, model));
                log.Write(model.InFlight!);
                model.Complete();
            }
        }
        catch (SimulatedPowerCutException)
        {
            isCut = true;
        }

        if (isKill)
        {
            fixture.Device.Kill();
        }
        else
        {
            fixture.Device.Crash(mode);
        }

        CutDuringRecovery(fixture, random, mode);
        var name = $"seed {seed}, cut at {cutAt}, {mode}";
        var recovered = Recover(fixture, model, name);
        fixture.Device.Crash(SimulatedDeviceCrash.DropUnsynced);
        using var again = fixture.Open();
        LogFixture.AssertSame(recovered, LogFixture.ReadAll(again));
        return isCut;
    }

    /// <summary>Recovery itself may be interrupted, and begins anew.</summary>
    private static void CutDuringRecovery(LogFixture fixture, Random random, SimulatedDeviceCrash mode)
    {
        fixture.Device.PowerCutAt = fixture.Device.OperationCount + random.Next(1, 12);
        try
        {
            fixture.Open();
        }
        catch (SimulatedPowerCutException)
        {
            // The cut that this method is for.
        }

        fixture.Device.Crash(mode);
    }

    private static List<LogEntry> Recover(LogFixture fixture, Model model, string name)
    {
        var log = fixture.Open();
        var entries = LogFixture.ReadAll(log);
        model.Check(entries, log.HardState, name);
        var next = LogFixture.Entry(entries.Count + 1, 99, 700);
        log.Write(LogFixture.Append(next));
        entries.Add(next);
        return entries;
    }

    private static LogWrite NextWrite(Random random, Model model)
    {
        var write = new LogWrite();
        var last = model.Entries.Count;
        if (random.Next(4) == 0)
        {
            write.HardState = new HardState(model.HardState.Term.Next(), new NodeId(random.Next(4)));
        }

        if (last > 0 && random.Next(4) == 0)
        {
            last = random.Next(Math.Max(0, last - 25), last);
            write.TruncateFrom = new LogIndex(last + 1);
        }

        var count = random.Next(write.IsEmpty ? 1 : 0, 9);
        var maxBytes = random.Next(6) == 0 ? 20_000 : 900;
        for (var i = 0; i < count; i++)
        {
            var term = (write.HardState ?? model.HardState).Term.Value;
            write.Entries.Add(LogFixture.Entry(last + 1 + i, term, random.Next(maxBytes)));
        }

        return write;
    }

    /// <summary>What was acknowledged, and what is under way.</summary>
    private sealed class Model
    {
        public List<LogEntry> Entries { get; private set; } = [];

        public HardState HardState { get; private set; }

        public LogWrite? InFlight { get; private set; }

        public void Begin(LogWrite write) => InFlight = write;

        public void Complete()
        {
            HardState = InFlight!.HardState ?? HardState;
            Entries = [.. Base(), .. InFlight.Entries];
            InFlight = null;
        }

        public void Check(List<LogEntry> found, HardState hardState, string name)
        {
            Assert.True(hardState == HardState || hardState == InFlight?.HardState, $"{name}: hard state {hardState}");
            var kept = Base();
            Assert.True(found.Count >= kept.Count, $"{name}: {found.Count} entries found, {kept.Count} are durable");
            Assert.True(IsPrefix(kept, found), $"{name}: a durable entry changed");
            var rest = found[kept.Count..];
            if (IsPrefix(rest, Entries[kept.Count..]))
            {
                return;
            }

            Assert.True(IsPrefix(rest, InFlight?.Entries ?? []), $"{name}: an entry that was never written");
            Assert.True(hardState == (InFlight!.HardState ?? HardState), $"{name}: entries without their hard state");
        }

        private List<LogEntry> Base() =>
            InFlight?.TruncateFrom is { } from ? Entries[..(int)Math.Min(Entries.Count, from.Value - 1)] : Entries;

        private static bool IsPrefix(List<LogEntry> prefix, List<LogEntry> of) =>
            prefix.Count <= of.Count && prefix.Zip(of).All(pair => LogFixture.AreSame(pair.First, pair.Second));
    }
}
