using System.Text;
using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

public sealed class DamageTests
{
    private static readonly HardState Voted = new(new Term(3), new NodeId(2));
    private readonly LogFixture _fixture = new();

    [Fact]
    public void Flipped_bit_in_a_closed_log_is_found_and_never_loses_or_changes_an_entry()
    {
        var written = WriteSmallLog(isClosed: true);
        var found = FlipEveryByte((device, name) => CheckOpen(device, written, written.Count, name));

        // Every byte of frames and headers counts; only unused space, padding and one of two slots may be flipped
        // without a word.
        Assert.InRange(found, 20 * (64 + 301), int.MaxValue);
    }

    [Fact]
    public void Flipped_bit_in_a_killed_log_loses_at_most_the_last_write()
    {
        var written = WriteSmallLog(isClosed: false);
        FlipEveryByte((device, name) => CheckOpen(device, written, written.Count - 2, name));
    }

    [Fact]
    public void Torn_tail_at_every_byte_of_the_last_frame_is_cut()
    {
        var frameBytes = FrameHeader.FrameBytes(101);
        var killed = _fixture.Open();
        killed.Write(LogFixture.AppendRange(1, 5, bodyBytes: 101));
        killed.Write(LogFixture.AppendRange(6, 6, bodyBytes: 101));
        _fixture.Device.Kill();

        var start = SegmentHeader.SizeBytes + (5 * frameBytes);
        for (var kept = 0; kept < frameBytes; kept++)
        {
            var fixture = new LogFixture(_fixture.Device.Clone(kept));
            Zero(fixture, start + kept, start + frameBytes);
            using (var log = fixture.Open())
            {
                // The three bytes of padding and a last byte that is zero by chance are no loss.
                Assert.InRange(log.LastIndex.Value, 5, kept < 64 + 100 ? 5 : 6);
                log.Write(LogFixture.AppendRange(log.LastIndex.Value + 1, 8, term: 2));
            }

            using var reopened = fixture.Open();
            Assert.Equal(8, LogFixture.ReadAll(reopened).Count);
        }
    }

    [Fact]
    public void What_a_torn_write_left_is_zeroed_once()
    {
        var killed = _fixture.Open();
        killed.Write(LogFixture.AppendRange(1, 4));
        _fixture.Device.Kill();
        Zero(_fixture, SegmentHeader.SizeBytes + 168, SegmentHeader.SizeBytes + 176);
        _fixture.Open().Dispose();

        var bytes = new byte[2000];
        using var file = _fixture.Device.Open(_fixture.SegmentPath(1), create: false);
        file.Read(SegmentHeader.SizeBytes + 168, bytes);
        Assert.DoesNotContain(bytes, value => value != 0);
    }

    [Fact]
    public void Missing_frame_before_a_later_write_is_damage()
    {
        var killed = _fixture.Open();
        killed.Write(LogFixture.AppendRange(1, 1));
        killed.Write(LogFixture.AppendRange(2, 2));
        killed.Write(LogFixture.AppendRange(3, 3));
        _fixture.Device.Kill();

        Zero(_fixture, SegmentHeader.SizeBytes + 168, SegmentHeader.SizeBytes + (2 * 168));
        var damage = Assert.Throws<StorageCorruptException>(() => _fixture.Open());
        Assert.Equal(SegmentHeader.SizeBytes + 168, damage.Offset);
        Assert.Equal(_fixture.SegmentPath(1), damage.FilePath);
    }

    [Fact]
    public void Truncated_frames_never_come_back()
    {
        var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 6));
        var write = LogFixture.AppendRange(3, 3, term: 2);
        write.TruncateFrom = new LogIndex(3);
        log.Write(write);
        _fixture.Device.Crash(SimulatedDeviceCrash.DropUnsynced);
        using var reopened = _fixture.Open();
        Assert.Equal(3, reopened.LastIndex.Value);
        Assert.Equal(2, LogFixture.ReadAll(reopened)[2].Term.Value);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4096)]
    public void One_bad_vote_slot_is_mended_from_the_other(int slot)
    {
        using (var log = _fixture.Open())
        {
            log.Write(new LogWrite { HardState = new HardState(new Term(2), new NodeId(1)) });
            log.Write(new LogWrite { HardState = Voted });
        }

        _fixture.Device.Flip(_fixture.PathOf("vote"), slot + 24, 1);
        using (var log = _fixture.Open())
        {
            Assert.Equal(Voted, log.HardState);
        }

        _fixture.Device.Flip(_fixture.PathOf("vote"), 4096 - slot + 24, 1);
        using var mended = _fixture.Open();
        Assert.Equal(Voted, mended.HardState);
    }

    [Fact]
    public void Two_bad_vote_slots_are_refused()
    {
        _fixture.Open().Dispose();
        _fixture.Device.Flip(_fixture.PathOf("vote"), 24, 1);
        _fixture.Device.Flip(_fixture.PathOf("vote"), 4096 + 24, 1);
        Assert.Throws<StorageCorruptException>(() => _fixture.Open());
    }

    [Fact]
    public void Missing_files_are_refused()
    {
        WriteSmallLog(isClosed: false);
        foreach (var name in _fixture.Device.List(LogFixture.Folder))
        {
            var fixture = new LogFixture(_fixture.Device.Clone(1));
            fixture.Device.Delete(fixture.PathOf(name));
            Assert.Throws<StorageCorruptException>(() => fixture.Open());
        }
    }

    [Fact]
    public void Files_cut_short_are_refused()
    {
        WriteSmallLog(isClosed: false);
        foreach (var name in _fixture.SegmentNames())
        {
            foreach (var length in new[] { 0, 100, 4096, 6000 })
            {
                var fixture = new LogFixture(_fixture.Device.Clone(1));
                fixture.Device.SetLength(fixture.PathOf(name), length);
                Assert.Throws<StorageCorruptException>(() => fixture.Open());
            }
        }
    }

    [Fact]
    public void Damage_that_appears_while_running_is_found_by_the_reader()
    {
        using var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 3));
        _fixture.Device.Flip(_fixture.SegmentPath(1), SegmentHeader.SizeBytes + 168 + 64 + 50, 4);
        var into = new List<LogEntry>();
        var damage = Assert.Throws<StorageCorruptException>(
            () => log.Read(new LogIndex(1), new LogIndex(3), 10_000, into));
        Assert.Equal(SegmentHeader.SizeBytes + 168, damage.Offset);
        Assert.Empty(into);
        Assert.Equal(1, log.Read(new LogIndex(3), new LogIndex(3), 10_000, into));
    }

    [Fact]
    public void Another_disks_log_and_another_groups_log_are_refused()
    {
        WriteSmallLog(isClosed: true);
        Assert.Throws<StorageRefusedException>(() => _fixture.Open(storeId: Guid.NewGuid()));
        Assert.Throws<StorageRefusedException>(() => _fixture.Open(group: new GroupId(4)));
        _fixture.Open().Dispose();
    }

    [Theory]
    [InlineData("vote", 512)]
    [InlineData("00000000000000000001.log", 4096)]
    public void Later_format_version_is_refused_and_nothing_changes(string name, int blockBytes)
    {
        WriteSmallLog(isClosed: true);
        using (var file = _fixture.Device.Open(_fixture.PathOf(name), create: false))
        {
            for (var at = 0; at < 2 * 4096; at += 4096)
            {
                var block = new byte[blockBytes];
                file.Read(at, block);
                block[8] = 2;
                var crc = Crc32C.Compute(block.AsSpan(16), Crc32C.Compute(block.AsSpan(0, 12)));
                BitConverter.TryWriteBytes(block.AsSpan(12), crc);
                file.Write(at, block);
                if (name != "vote")
                {
                    break;
                }
            }
        }

        var operations = _fixture.Device.OperationCount;
        var refused = Assert.Throws<StorageRefusedException>(() => _fixture.Open());
        Assert.Contains("version 2", refused.Message, StringComparison.Ordinal);
        Assert.InRange(_fixture.Device.OperationCount - operations, 0, 3);
    }

    [Fact]
    public void Message_that_looks_like_a_later_frame_is_not_taken_for_one()
    {
        var forged = new byte[64];
        var header = new FrameHeader(0, 0, new Term(1), new LogIndex(9), 0, new LogIndex(8), 0, 1, EntryKind.Noop, 0);
        header.Encode(forged, seed: 0);
        var log = _fixture.Open();
        log.Write(LogFixture.AppendRange(1, 1));
        _fixture.Device.Fault = (operation, _) =>
            operation == SimulatedDeviceOperation.Sync ? SimulatedDeviceFault.IoError : SimulatedDeviceFault.None;
        var badCrc = Crc32C.Compute(forged) ^ 1;
        var body = new LogEntry(new LogIndex(2), new Term(1), EntryKind.Commands, 1, 0, badCrc, forged);
        Assert.Throws<StorageException>(() => log.Write(LogFixture.Append(body)));
        _fixture.Device.Fault = null;
        _fixture.Device.Kill();
        using var reopened = _fixture.Open();
        Assert.Equal(1, reopened.LastIndex.Value);
    }

    [Fact]
    public void Frame_header_has_the_documented_bytes()
    {
        var body = Encoding.ASCII.GetBytes("hello");
        var bytes = new byte[64];
        var bodyCrc = Crc32C.Compute(body);
        var header = new FrameHeader(
            5, bodyCrc, new Term(2), new LogIndex(7), 0x0102, new LogIndex(6), 0, 1, EntryKind.Commands, 0xAABBCCDD);
        var crc = header.Encode(bytes, seed: 17);
        Assert.Equal("42465231", Convert.ToHexString(bytes, 0, 4));
        Assert.Equal("050000004CBB719A02000000000000000700000000000000", Convert.ToHexString(bytes, 8, 24));
        Assert.Equal("02010000000000000600000000000000", Convert.ToHexString(bytes, 32, 16));
        Assert.Equal("000000000100000002000000DDCCBBAA", Convert.ToHexString(bytes, 48, 16));
        Assert.True(FrameHeader.TryDecode(bytes, 17, out var decoded, out var decodedCrc));
        Assert.Equal((header, crc), (decoded, decodedCrc));
        Assert.False(FrameHeader.TryDecode(bytes, 18, out _, out _));
    }

    /// <summary>Two segments; the last write has two entries.</summary>
    private List<LogEntry> WriteSmallLog(bool isClosed)
    {
        var written = LogFixture.AppendRange(1, 20, term: 3, bodyBytes: 301).Entries;
        var log = _fixture.Open();
        log.Write(new LogWrite { HardState = Voted });
        for (var i = 0; i < written.Count; i += 2)
        {
            log.Write(LogFixture.Append(written[i], written[i + 1]));
        }

        if (isClosed)
        {
            log.Dispose();
        }

        _fixture.Device.Kill();
        return written;
    }

    /// <summary>Returns how often the damage was found.</summary>
    private int FlipEveryByte(Func<SimulatedDevice, string, bool> check)
    {
        var found = 0;
        foreach (var name in _fixture.Device.List(LogFixture.Folder))
        {
            var bytes = new byte[_fixture.Device.Length(_fixture.PathOf(name))];
            using var file = _fixture.Device.Open(_fixture.PathOf(name), create: false);
            file.Read(0, bytes);
            for (var at = 0; at < bytes.Length; at++)
            {
                // In a long run of zeros one byte stands for its neighbours.
                if (at % 32 != 0 && !bytes.AsSpan(at & ~31, 32).ContainsAnyExcept((byte)0))
                {
                    continue;
                }

                var device = _fixture.Device.Clone(at);
                device.Flip(_fixture.PathOf(name), at, (byte)(1 << (at % 8)));
                found += check(device, $"{name}:{at}") ? 1 : 0;
            }
        }

        return found;
    }

    /// <summary>True when the damage was refused; otherwise the log must be sound up to the floor.</summary>
    private static bool CheckOpen(SimulatedDevice device, List<LogEntry> written, int floor, string name)
    {
        try
        {
            using var log = new LogFixture(device).Open();
            Assert.Equal(Voted, log.HardState);
            var entries = LogFixture.ReadAll(log);
            Assert.True(entries.Count >= floor, $"{name}: {entries.Count} entries are left");
            LogFixture.AssertSame(written[..entries.Count], entries);
            return false;
        }
        catch (StorageCorruptException)
        {
            return true;
        }
    }

    private static void Zero(LogFixture fixture, int from, int to)
    {
        using var file = fixture.Device.Open(fixture.SegmentPath(1), create: false);
        file.Write(from, new byte[to - from]);
    }
}
