using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

/// <summary>
/// Every byte of every file flipped, every file cut short everywhere and deleted (FAULTS F6, F7): the group always
/// opens, and never as if nothing had happened when something is missing.
/// </summary>
public sealed class DamageEverywhereTests
{
    private readonly LogFixture _fixture = new();

    public enum Kind
    {
        Closed,
        Killed,
        WithBase,
    }

    [Theory]
    [InlineData(Kind.Closed)]
    [InlineData(Kind.Killed)]
    [InlineData(Kind.WithBase)]
    public void Flipped_bit_never_loses_or_changes_an_entry_in_silence(Kind kind)
    {
        var outcomes = Prepare(kind);
        foreach (var name in _fixture.Device.List(LogFixture.Folder))
        {
            var bytes = BytesOf(name);
            for (var at = 0; at < bytes.Length; at++)
            {
                // In a long run of zeros one byte stands for its neighbours.
                var run = bytes.AsSpan(at & ~31, Math.Min(32, bytes.Length - (at & ~31)));
                if (at % 32 == 0 || run.ContainsAnyExcept((byte)0))
                {
                    var mask = (byte)(1 << (at % 8));
                    Check(kind, name, outcomes, $"{name}:{at}", path => (device => device.Flip(path, at, mask)));
                }
            }
        }

        // Frames of the active segment are cut and fenced, those of sealed ones are marked.
        Assert.True(outcomes[SmallLog.Outcome.Fenced] > 64 + 301);
        Assert.True(outcomes[SmallLog.Outcome.Damaged] > 64 + 301);
        Assert.Equal(kind == Kind.Killed, outcomes.ContainsKey(SmallLog.Outcome.Torn));
        Assert.False(outcomes.ContainsKey(SmallLog.Outcome.Lost));
    }

    [Theory]
    [InlineData(Kind.Closed)]
    [InlineData(Kind.Killed)]
    [InlineData(Kind.WithBase)]
    public void File_cut_short_or_deleted_never_loses_an_entry_in_silence(Kind kind)
    {
        var outcomes = Prepare(kind);
        foreach (var name in _fixture.Device.List(LogFixture.Folder))
        {
            for (var length = 0; length < _fixture.Device.Length(_fixture.PathOf(name)); length += 56)
            {
                var what = $"{name} cut to {length}";
                Check(kind, name, outcomes, what, path => (device => device.SetLength(path, length)));
            }

            Check(kind, name, outcomes, $"{name} deleted", path => (device => device.Delete(path)));
        }

        Assert.True(outcomes[SmallLog.Outcome.Fenced] > 10);
        Assert.True(outcomes[SmallLog.Outcome.Damaged] > 10);
        Assert.True(outcomes[SmallLog.Outcome.Lost] > 10);
    }

    [Theory]
    [InlineData(Kind.Closed)]
    [InlineData(Kind.WithBase)]
    public void Unreadable_or_zeroed_blocks_never_lose_an_entry_in_silence(Kind kind)
    {
        var outcomes = Prepare(kind);
        foreach (var name in _fixture.Device.List(LogFixture.Folder))
        {
            for (var block = 0; block < _fixture.Device.Length(_fixture.PathOf(name)); block += 4096)
            {
                Check(kind, name, outcomes, $"{name}: block {block}", path => (device =>
                {
                    using var file = device.Open(path, create: false);
                    file.Write(block, new byte[(int)Math.Min(4096, file.Length - block)]);
                    file.Sync();
                }));
            }
        }

        Assert.True(outcomes[SmallLog.Outcome.Damaged] > 3);
    }

    private Dictionary<SmallLog.Outcome, int> Prepare(Kind kind)
    {
        if (kind == Kind.WithBase)
        {
            SmallLog.WriteWithBase(_fixture);
        }
        else
        {
            SmallLog.Write(_fixture, isClosed: kind == Kind.Closed);
        }

        return [];
    }

    private void Check(
        Kind kind,
        string name,
        Dictionary<SmallLog.Outcome, int> outcomes,
        string what,
        Func<string, Action<SimulatedDevice>> damage)
    {
        var fixture = new LogFixture(_fixture.Device.Clone(1));
        damage(fixture.PathOf(name))(fixture.Device);

        // The last write of a process that was killed has no proof behind it.
        var durable = kind == Kind.Killed ? SmallLog.LastIndex - 2 : SmallLog.LastIndex;
        var outcome = SmallLog.Check(fixture, durable, what);
        outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;

        // What the start made of it is durable: another start comes to the same.
        fixture.Device.Crash(SimulatedDeviceCrash.DropUnsynced);
        Assert.Equal(outcome == SmallLog.Outcome.Torn, SmallLog.Check(fixture, durable, what + ", again")
            == SmallLog.Outcome.Torn);
    }

    private byte[] BytesOf(string name)
    {
        var bytes = new byte[_fixture.Device.Length(_fixture.PathOf(name))];
        using var file = _fixture.Device.Open(_fixture.PathOf(name), create: false);
        file.Read(0, bytes);
        return bytes;
    }
}
