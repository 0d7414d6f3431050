using System.Text;
using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

public sealed class DamageTests
{
    private static readonly HardState Voted = SmallLog.Voted;
    private readonly LogFixture _fixture = new();

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
        using var log = _fixture.Open();
        Assert.Equal(new LogPosition(new(3), new(1)), log.Fence);
        Assert.Equal(1, log.LastIndex.Value);
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
        SmallLog.Write(_fixture);
        Assert.Throws<StorageRefusedException>(() => _fixture.Open(storeId: Guid.NewGuid()));
        Assert.Throws<StorageRefusedException>(() => _fixture.Open(group: new GroupId(4)));
        _fixture.Open().Dispose();
    }

    [Fact]
    public void Vote_record_with_the_largest_configurations_fits_its_slot_and_is_read_back()
    {
        var members = Enumerable.Range(1, GroupConfiguration.MaxMembers).Select(i => new NodeId(i << 20)).ToList();
        var record = new VoteRecord
        {
            Sequence = 7,
            HardState = new HardState(new Term(8), new NodeId(9), new LogIndex(10)),
            DurableFloor = new LogIndex(11),
            TruncationEpoch = 12,
            CutFrom = new LogIndex(13),
            Active = new ActiveSegment(new LogIndex(14), 15, 16),
            Base = new LogPosition(new LogIndex(17), new Term(18)),
            BaseCrc32C = 19,
            SetsAside = true,
            Fence = new LogPosition(new LogIndex(20), new Term(21)),
            Configuration = new GroupConfiguration(new LogIndex(22), members, []),
            PreviousConfiguration = new GroupConfiguration(new LogIndex(23), members.Take(3), members.Skip(3)),
        };
        var slot = new byte[VoteRecord.SizeBytes];
        record.Encode(slot, LogFixture.Group, LogFixture.StoreId);
        Assert.Equal(record, VoteRecord.TryDecode(slot, "vote", LogFixture.Group, LogFixture.StoreId));
    }

    [Theory]
    [InlineData("vote", 512)]
    [InlineData("00000000000000000001.log", 4096)]
    public void Later_format_version_is_refused_and_nothing_changes(string name, int blockBytes)
    {
        SmallLog.Write(_fixture);
        using (var file = _fixture.Device.Open(_fixture.PathOf(name), create: false))
        {
            for (var at = 0; at < 2 * 4096; at += 4096)
            {
                var block = new byte[blockBytes];
                file.Read(at, block);
                block[8]++;
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
        Assert.Contains("version 3", refused.Message, StringComparison.Ordinal);
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

    private static void Zero(LogFixture fixture, int from, int to)
    {
        using var file = fixture.Device.Open(fixture.SegmentPath(1), create: false);
        file.Write(from, new byte[to - from]);
    }
}
