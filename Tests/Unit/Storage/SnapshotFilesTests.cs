using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Storage;

public sealed class SnapshotFilesTests
{
    private readonly SideFileFixture _fixture = new();

    public static TheoryData<SimulatedDeviceCrash> Modes =>
        [SimulatedDeviceCrash.DropUnsynced, SimulatedDeviceCrash.KeepUnsynced, SimulatedDeviceCrash.Shuffle];

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(CheckedPages.PayloadBytes)]
    [InlineData(CheckedPages.PayloadBytes + 1)]
    [InlineData(64 * CheckedPages.PayloadBytes)]
    [InlineData(700_001)]
    public void Snapshot_reads_back_as_written_after_a_power_cut(int dataBytes)
    {
        var data = SideFileFixture.Bytes(dataBytes, seed: 1);
        _fixture.Snapshots().Write(SideFileFixture.At(9, term: 7), SideFileFixture.Configuration, data);
        _fixture.Device.Crash(SimulatedDeviceCrash.DropUnsynced);

        var snapshots = _fixture.Snapshots();
        Assert.Equal([new LogIndex(9)], snapshots.List());
        Assert.True(snapshots.TryRead(new LogIndex(9), out var snapshot));
        Assert.Equal(SideFileFixture.At(9, term: 7), snapshot.Position);
        Assert.Equal(SideFileFixture.Configuration, snapshot.Configuration);
        Assert.Equal(data, snapshot.Data.ToArray());
    }

    [Fact]
    public void The_bytes_of_the_header_are_those_that_its_comment_shows()
    {
        var configuration = new GroupConfiguration(LogIndex.None, [new NodeId(1), new NodeId(2)], []);
        _fixture.Snapshots().Write(SideFileFixture.At(9), configuration, [1, 2, 3, 4, 5]);
        var block = new byte[SnapshotHeader.SizeBytes];
        using var file = _fixture.Device.Open(SideFileFixture.SnapshotPath(9), create: false);
        file.Read(0, block);

        Assert.Equal("42524B52534E415001000000", Convert.ToHexString(block[..12]));
        Assert.Equal("03000000", Convert.ToHexString(block[16..20]));
        Assert.Equal(
            "0900000000000000020000000000000005000000000000000000000000000000"
            + "0C00000000000000010200000100000002000000",
            Convert.ToHexString(block[40..92]));
        Assert.DoesNotContain(block[92..], value => value != 0);
    }

    [Fact]
    public void The_largest_configuration_fits()
    {
        var members = Enumerable.Range(1, GroupConfiguration.MaxMembers).Select(number => new NodeId(number)).ToList();
        var configuration = new GroupConfiguration(new LogIndex(8), members.Take(20), members.Skip(20));
        _fixture.Snapshots().Write(SideFileFixture.At(9), configuration, [1]);
        Assert.True(_fixture.Snapshots().TryRead(new LogIndex(9), out var snapshot));
        Assert.Equal(configuration, snapshot.Configuration);
    }

    [Fact]
    public void Later_snapshot_at_the_same_index_replaces_the_earlier_one()
    {
        var snapshots = _fixture.Snapshots();
        snapshots.Write(SideFileFixture.At(9), SideFileFixture.Configuration, SideFileFixture.Bytes(9000, 1));
        snapshots.Write(SideFileFixture.At(9), SideFileFixture.Configuration, [1, 2, 3]);
        Assert.True(snapshots.TryRead(new LogIndex(9), out var snapshot));
        Assert.Equal([1, 2, 3], snapshot.Data.ToArray());
    }

    [Fact]
    public void Snapshots_are_listed_and_deleted_by_index()
    {
        var snapshots = _fixture.Snapshots();
        foreach (var index in new long[] { 100, 5, 30, 4_000_000_000_000 })
        {
            snapshots.Write(SideFileFixture.At(index), SideFileFixture.Configuration, [1]);
        }

        _fixture.Device.Open(SideFileFixture.IndexPath(7), create: true).Dispose();
        Assert.Equal([5, 30, 100, 4_000_000_000_000], snapshots.List().Select(index => index.Value));
        snapshots.DeleteBelow(new LogIndex(30));
        snapshots.DeleteAbove(new LogIndex(100));
        Assert.Equal([30, 100], snapshots.List().Select(index => index.Value));

        _fixture.Device.Crash(SimulatedDeviceCrash.DropUnsynced);
        Assert.Equal([30, 100], _fixture.Snapshots().List().Select(index => index.Value));
        Assert.False(_fixture.Snapshots().TryRead(new LogIndex(5), out _));
    }

    [Fact]
    public void Each_flipped_byte_is_found_and_the_file_is_set_aside()
    {
        var data = SideFileFixture.Bytes(5000, seed: 1);
        _fixture.Snapshots().Write(SideFileFixture.At(9), SideFileFixture.Configuration, data);
        var path = SideFileFixture.SnapshotPath(9);
        for (var offset = 0; offset < _fixture.Device.Length(path); offset++)
        {
            var fixture = new SideFileFixture(_fixture.Device.Clone(1));
            fixture.Device.Flip(path, offset, (byte)(1 << (offset % 8)));
            var snapshots = fixture.Snapshots();
            Assert.False(snapshots.TryRead(new LogIndex(9), out _), $"byte {offset}");
            Assert.Empty(snapshots.List());
            Assert.True(fixture.Device.Exists(path + GroupFolder.BadSuffix), $"byte {offset}");
        }
    }

    [Fact]
    public void File_of_any_other_length_is_found()
    {
        var data = SideFileFixture.Bytes(5000, seed: 1);
        _fixture.Snapshots().Write(SideFileFixture.At(9), SideFileFixture.Configuration, data);
        var path = SideFileFixture.SnapshotPath(9);
        var length = _fixture.Device.Length(path);
        long[] lengths =
        [
            0, 1, 100, SnapshotHeader.SizeBytes - 1, SnapshotHeader.SizeBytes, SnapshotHeader.SizeBytes + 1,
            length - CheckedPages.PageBytes, length - 1, length + 1, length + CheckedPages.PageBytes,
        ];
        foreach (var other in lengths)
        {
            var fixture = new SideFileFixture(_fixture.Device.Clone(1));
            fixture.Device.SetLength(path, other);
            Assert.False(fixture.Snapshots().TryRead(new LogIndex(9), out _), $"length {other}");
        }
    }

    [Fact]
    public void Pages_of_another_snapshot_or_of_another_place_are_found()
    {
        var snapshots = _fixture.Snapshots();
        snapshots.Write(SideFileFixture.At(9), SideFileFixture.Configuration, SideFileFixture.Bytes(20_000, 1));
        snapshots.Write(SideFileFixture.At(12), SideFileFixture.Configuration, SideFileFixture.Bytes(20_000, 2));
        CopyPage(SideFileFixture.SnapshotPath(9), 2, SideFileFixture.SnapshotPath(12), 2);
        CopyPage(SideFileFixture.SnapshotPath(9), 3, SideFileFixture.SnapshotPath(9), 4);
        Assert.False(snapshots.TryRead(new LogIndex(12), out _));
        Assert.False(snapshots.TryRead(new LogIndex(9), out _));
    }

    [Fact]
    public void Snapshot_under_the_name_of_another_one_is_not_served()
    {
        var snapshots = _fixture.Snapshots();
        snapshots.Write(SideFileFixture.At(9), SideFileFixture.Configuration, [1]);
        _fixture.Device.Rename(SideFileFixture.SnapshotPath(9), SideFileFixture.SnapshotPath(10));
        Assert.False(snapshots.TryRead(new LogIndex(10), out _));
    }

    [Fact]
    public void Unreadable_snapshot_is_set_aside_but_one_that_cannot_be_opened_stays()
    {
        _fixture.Snapshots().Write(SideFileFixture.At(9), SideFileFixture.Configuration, [1]);
        var device = new FaultyReads(_fixture.Device) { FailOpens = true };
        var snapshots = new SnapshotFiles(
            device, SideFileFixture.Folder, LogFixture.Group, LogFixture.StoreId, NullLogger.Instance);
        Assert.False(snapshots.TryRead(new LogIndex(9), out _));
        Assert.Single(snapshots.List());

        device.FailOpens = false;
        device.FailReads = true;
        Assert.False(snapshots.TryRead(new LogIndex(9), out _));
        Assert.Empty(snapshots.List());
    }

    [Fact]
    public void Snapshot_that_replaces_a_damaged_one_while_it_is_read_is_not_set_aside()
    {
        _fixture.Snapshots().Write(SideFileFixture.At(9), SideFileFixture.Configuration, [1]);
        _fixture.Device.Flip(SideFileFixture.SnapshotPath(9), 4100, 1);
        var device = new FaultyReads(_fixture.Device);
        var snapshots = new SnapshotFiles(
            device, SideFileFixture.Folder, LogFixture.Group, LogFixture.StoreId, NullLogger.Instance);
        device.BeforeRead = (4096, () => snapshots.Write(SideFileFixture.At(9), SideFileFixture.Configuration, [2]));
        Assert.False(snapshots.TryRead(new LogIndex(9), out _));
        Assert.True(snapshots.TryRead(new LogIndex(9), out var snapshot));
        Assert.Equal([2], snapshot.Data.ToArray());
        Assert.Equal(0, device.OpenFiles);
    }

    [Fact]
    public void Set_aside_snapshots_go_with_the_others()
    {
        var snapshots = _fixture.Snapshots();
        snapshots.Write(SideFileFixture.At(9), SideFileFixture.Configuration, [1]);
        _fixture.Device.Flip(SideFileFixture.SnapshotPath(9), 4100, 1);
        Assert.False(snapshots.TryRead(new LogIndex(9), out _));
        snapshots.DeleteBelow(new LogIndex(9));
        Assert.Single(_fixture.Device.List(SideFileFixture.Folder));
        snapshots.DeleteBelow(new LogIndex(10));
        Assert.Empty(_fixture.Device.List(SideFileFixture.Folder));
    }

    [Fact]
    public void Snapshot_of_another_disk_group_or_version_is_refused_and_left_alone()
    {
        _fixture.Snapshots().Write(SideFileFixture.At(9), SideFileFixture.Configuration, [1]);
        var otherDisk = _fixture.Snapshots(storeId: Guid.NewGuid());
        var otherGroup = _fixture.Snapshots(group: new GroupId(4));
        Assert.Throws<StorageRefusedException>(() => otherDisk.TryRead(new LogIndex(9), out _));
        Assert.Throws<StorageRefusedException>(() => otherGroup.TryRead(new LogIndex(9), out _));
        _fixture.SetVersion(SideFileFixture.SnapshotPath(9), 77);
        var refusal = Assert.Throws<StorageRefusedException>(
            () => _fixture.Snapshots().TryRead(new LogIndex(9), out _));
        Assert.Contains("77", refusal.Message, StringComparison.Ordinal);
        Assert.Single(_fixture.Snapshots().List());
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void Power_cut_in_any_operation_leaves_the_old_snapshot_or_the_new_one(SimulatedDeviceCrash mode)
    {
        var old = SideFileFixture.Bytes(9_000, 1);
        var next = SideFileFixture.Bytes(300_000, 2);
        var isCut = true;
        var cuts = 0;
        for (var seed = 0; isCut; seed++)
        {
            var fixture = new SideFileFixture(seed);
            fixture.Snapshots().Write(SideFileFixture.At(5), SideFileFixture.Configuration, old);
            fixture.Snapshots().Write(SideFileFixture.At(9), SideFileFixture.Configuration, old);
            fixture.Device.PowerCutAt = fixture.Device.OperationCount + seed + 1;
            isCut = IsCut(() =>
            {
                fixture.Snapshots().Write(SideFileFixture.At(9), SideFileFixture.Configuration, next);
                fixture.Snapshots().DeleteBelow(new LogIndex(9));
            });
            cuts += isCut ? 1 : 0;
            fixture.Device.Crash(mode);

            var snapshots = fixture.Snapshots();
            Assert.True(snapshots.TryRead(new LogIndex(9), out var found), $"cut at {seed}");
            Assert.True(found.Data.Span.SequenceEqual(old) || found.Data.Span.SequenceEqual(next), $"cut at {seed}");
            if (snapshots.TryRead(new LogIndex(5), out var older))
            {
                Assert.Equal(old, older.Data.ToArray());
            }
            else
            {
                Assert.Equal(next, found.Data.ToArray());
            }

            // What a cut leaves behind does not disturb the next write.
            snapshots.Write(SideFileFixture.At(9), SideFileFixture.Configuration, [7]);
            Assert.True(snapshots.TryRead(new LogIndex(9), out found));
            Assert.Equal([7], found.Data.ToArray());
        }

        Assert.InRange(cuts, 8, 100);
    }

    [Fact]
    public void Full_disk_in_any_operation_leaves_the_snapshots_as_they_were()
    {
        var old = SideFileFixture.Bytes(9_000, 1);
        _fixture.Snapshots().Write(SideFileFixture.At(9), SideFileFixture.Configuration, old);
        SimulatedDeviceOperation[] operations =
        [
            SimulatedDeviceOperation.Create, SimulatedDeviceOperation.Allocate, SimulatedDeviceOperation.Write,
            SimulatedDeviceOperation.Sync, SimulatedDeviceOperation.Rename,
        ];
        foreach (var operation in operations)
        {
            Fail(operation, SimulatedDeviceFault.DiskFull);
            Assert.Throws<DiskFullException>(() => WriteBoth());
            AssertUnchanged(old);
            Fail(operation, SimulatedDeviceFault.IoError);
            Assert.Throws<StorageException>(() => WriteBoth());
            AssertUnchanged(old);
        }
    }

    [Fact]
    public void More_data_than_the_limit_is_a_mistake_of_the_caller() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => _fixture.Snapshots().Write(
            SideFileFixture.At(9), SideFileFixture.Configuration, new byte[Limits.SnapshotBytes + 1]));

    [Fact]
    public async Task Readers_beside_a_writer_see_one_of_its_snapshots_whole()
    {
        var snapshots = _fixture.Snapshots();
        snapshots.Write(SideFileFixture.At(9), SideFileFixture.Configuration, Uniform(0));
        using var isDone = new CancellationTokenSource();
        var readers = Enumerable.Range(0, 3).Select(_ => Task.Run(() =>
        {
            var reads = 0;
            while (!isDone.IsCancellationRequested)
            {
                Assert.True(snapshots.TryRead(new LogIndex(9), out var snapshot));
                Assert.Equal(Uniform(snapshot.Data.Span[0]), snapshot.Data.ToArray());
                reads++;
            }

            return reads;
        })).ToList();

        for (var i = 1; i <= 200; i++)
        {
            snapshots.Write(SideFileFixture.At(9), SideFileFixture.Configuration, Uniform((byte)i));
        }

        await isDone.CancelAsync();
        await Task.WhenAll(readers);
    }

    private static byte[] Uniform(byte value) => [.. Enumerable.Repeat(value, 5000 + value)];

    private static bool IsCut(Action action)
    {
        try
        {
            action();
            return false;
        }
        catch (SimulatedPowerCutException)
        {
            return true;
        }
    }

    private void CopyPage(string from, long fromPage, string to, long toPage)
    {
        var page = new byte[CheckedPages.PageBytes];
        using var source = _fixture.Device.Open(from, create: false);
        using var target = _fixture.Device.Open(to, create: false);
        source.Read(fromPage * page.Length, page);
        target.Write(toPage * page.Length, page);
    }

    private void Fail(SimulatedDeviceOperation operation, SimulatedDeviceFault fault) =>
        _fixture.Device.Fault = (actual, _) => actual == operation ? fault : SimulatedDeviceFault.None;

    private void WriteBoth() => _fixture.Snapshots().Write(
        SideFileFixture.At(9), SideFileFixture.Configuration, SideFileFixture.Bytes(20_000, 2));

    private void AssertUnchanged(byte[] old)
    {
        _fixture.Device.Fault = null;
        Assert.Single(_fixture.Device.List(SideFileFixture.Folder));
        Assert.True(_fixture.Snapshots().TryRead(new LogIndex(9), out var snapshot));
        Assert.Equal(old, snapshot.Data.ToArray());
    }
}
