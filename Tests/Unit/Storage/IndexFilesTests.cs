using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Storage;

public sealed class IndexFilesTests : IDisposable
{
    private const int BodyBytes = 30_001;
    private static readonly byte[] Directory = SideFileFixture.Bytes(5_000, 1);
    private static readonly byte[] Body = SideFileFixture.Bytes(BodyBytes, 2);
    private readonly SideFileFixture _fixture = new();
    private readonly string _root = System.IO.Directory.CreateTempSubdirectory("broker-side-").FullName;

    public static TheoryData<SimulatedDeviceCrash> Modes =>
        [SimulatedDeviceCrash.DropUnsynced, SimulatedDeviceCrash.KeepUnsynced, SimulatedDeviceCrash.Shuffle];

    public void Dispose() => System.IO.Directory.Delete(_root, recursive: true);

    [Theory]
    [InlineData(0, 0)]
    [InlineData(0, 9)]
    [InlineData(1, 0)]
    [InlineData(CheckedPages.PayloadBytes, CheckedPages.PayloadBytes)]
    [InlineData(CheckedPages.PayloadBytes + 1, 3 * CheckedPages.PayloadBytes)]
    [InlineData(100_000, 700_001)]
    public void Index_reads_back_as_written_after_a_power_cut(int directoryBytes, int bodyBytes)
    {
        var directory = SideFileFixture.Bytes(directoryBytes, 3);
        var body = SideFileFixture.Bytes(bodyBytes, 4);
        using (var indexes = _fixture.Indexes())
        {
            indexes.Write(new LogIndex(5), new LogIndex(80), directory, body);
        }

        _fixture.Device.Crash(SimulatedDeviceCrash.DropUnsynced);
        using var again = _fixture.Indexes();
        Assert.Equal([new LogIndex(5)], again.List());
        var found = SideFileFixture.ReadAll(again, 5, bodyBytes);
        Assert.Equal(new LogIndex(80), found?.Last);
        Assert.Equal(directory, found?.Directory);
        Assert.Equal(body, found?.Body);
        Assert.False(again.IsDamaged(new LogIndex(5)));
    }

    [Fact]
    public void Index_on_a_real_disk_reads_back_as_written()
    {
        var device = new PhysicalDevice();
        using (var indexes = OnRealDisk(device))
        {
            indexes.Write(new LogIndex(5), new LogIndex(80), [1], [2]);
            Assert.True(indexes.TryReadDirectory(new LogIndex(5), out _, out _));
            indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
            indexes.Write(new LogIndex(81), new LogIndex(90), Directory, Body);
            indexes.Delete(new LogIndex(81));
        }

        using var again = OnRealDisk(device);
        Assert.Equal([new LogIndex(5)], again.List());
        Assert.Equal(Body, SideFileFixture.ReadAll(again, 5, BodyBytes)?.Body);
        var snapshots = new SnapshotFiles(
            device, _root, LogFixture.Group, LogFixture.StoreId, NullLogger.Instance);
        snapshots.Write(SideFileFixture.At(9), SideFileFixture.Configuration, Body);
        snapshots.Write(SideFileFixture.At(20), SideFileFixture.Configuration, Directory);
        snapshots.DeleteBelow(new LogIndex(20));
        Assert.False(snapshots.TryRead(new LogIndex(9), out _));
        Assert.True(snapshots.TryRead(new LogIndex(20), out var snapshot));
        Assert.Equal(Directory, snapshot.Data.ToArray());
        Assert.Equal(2, device.List(_root).Count);
    }

    [Fact]
    public void The_bytes_of_the_header_are_those_that_its_comment_shows()
    {
        using var indexes = _fixture.Indexes();
        indexes.Write(new LogIndex(1), new LogIndex(9), [1, 2, 3, 4, 5], new byte[16]);
        var block = new byte[IndexHeader.SizeBytes];
        using var file = _fixture.Device.Open(SideFileFixture.IndexPath(1), create: false);
        file.Read(0, block);

        Assert.Equal("42524B524944583101000000", Convert.ToHexString(block[..12]));
        Assert.Equal("03000000", Convert.ToHexString(block[16..20]));
        Assert.Equal("010000000000000009000000000000000500000010000000", Convert.ToHexString(block[40..64]));
        Assert.DoesNotContain(block[64..], value => value != 0);
    }

    [Fact]
    public void Look_up_reads_only_the_pages_that_hold_it()
    {
        var device = new FaultyReads(_fixture.Device);
        using var indexes = _fixture.Indexes(device: device);
        indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
        Assert.True(indexes.TryReadBody(new LogIndex(5), 0, new byte[1]));

        var before = device.ReadBytes;
        var into = new byte[10];
        Assert.True(indexes.TryReadBody(new LogIndex(5), (2 * CheckedPages.PayloadBytes) - 10, into));
        Assert.Equal(CheckedPages.PageBytes, device.ReadBytes - before);
        Assert.Equal(Body.AsSpan((2 * CheckedPages.PayloadBytes) - 10, 10).ToArray(), into);

        before = device.ReadBytes;
        Assert.True(indexes.TryReadBody(new LogIndex(5), (2 * CheckedPages.PayloadBytes) - 5, into));
        Assert.Equal(2 * CheckedPages.PageBytes, device.ReadBytes - before);
        Assert.Equal(Body.AsSpan((2 * CheckedPages.PayloadBytes) - 5, 10).ToArray(), into);
    }

    [Fact]
    public void Look_up_behind_the_body_is_a_mistake_of_the_caller()
    {
        using var indexes = _fixture.Indexes();
        indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
        Assert.True(indexes.TryReadBody(new LogIndex(5), BodyBytes, []));
        Assert.Throws<ArgumentOutOfRangeException>(() => indexes.TryReadBody(new LogIndex(5), BodyBytes, new byte[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => indexes.TryReadBody(new LogIndex(5), -1, new byte[1]));
        Assert.True(indexes.TryReadBody(new LogIndex(5), 0, new byte[BodyBytes]));
    }

    [Fact]
    public void Missing_index_is_no_damage()
    {
        using var indexes = _fixture.Indexes();
        Assert.False(indexes.TryReadDirectory(new LogIndex(5), out _, out _));
        Assert.False(indexes.TryReadBody(new LogIndex(5), 0, new byte[1]));
        Assert.False(indexes.IsDamaged(new LogIndex(5)));
        indexes.Delete(new LogIndex(5));
        Assert.Empty(indexes.List());
    }

    [Fact]
    public void Each_flipped_byte_is_found_and_remembered_until_the_index_is_written_again()
    {
        using (var indexes = _fixture.Indexes())
        {
            indexes.Write(new LogIndex(5), new LogIndex(80), Directory.AsSpan(0, 100), Body.AsSpan(0, 5000));
        }

        var path = SideFileFixture.IndexPath(5);
        for (var offset = 0; offset < _fixture.Device.Length(path); offset++)
        {
            var fixture = new SideFileFixture(_fixture.Device.Clone(1));
            fixture.Device.Flip(path, offset, (byte)(1 << (offset % 8)));
            using var indexes = fixture.Indexes();
            var into = new byte[5000];
            var isDirectoryRead = indexes.TryReadDirectory(new LogIndex(5), out _, out var directory);
            var isBodyRead = indexes.TryReadBody(new LogIndex(5), 0, into);
            Assert.False(isDirectoryRead && isBodyRead, $"byte {offset}");
            Assert.True(!isDirectoryRead || directory.Span.SequenceEqual(Directory.AsSpan(0, 100)), $"byte {offset}");
            Assert.True(indexes.IsDamaged(new LogIndex(5)), $"byte {offset}");
            Assert.False(indexes.TryReadDirectory(new LogIndex(5), out _, out _), $"byte {offset}");

            if (offset % 97 == 0)
            {
                indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
                Assert.False(indexes.IsDamaged(new LogIndex(5)));
                Assert.Equal(Body, SideFileFixture.ReadAll(indexes, 5, BodyBytes)?.Body);
            }
        }
    }

    [Fact]
    public void File_of_any_other_length_is_found()
    {
        using (var indexes = _fixture.Indexes())
        {
            indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
        }

        var path = SideFileFixture.IndexPath(5);
        var length = _fixture.Device.Length(path);
        foreach (var other in new[] { 0, 1, 4095, 4096, 4097, length - 4096, length - 1, length + 1, length + 4096 })
        {
            var fixture = new SideFileFixture(_fixture.Device.Clone(1));
            fixture.Device.SetLength(path, other);
            using var indexes = fixture.Indexes();
            Assert.False(indexes.TryReadDirectory(new LogIndex(5), out _, out _), $"length {other}");
            Assert.True(indexes.IsDamaged(new LogIndex(5)), $"length {other}");
        }
    }

    [Fact]
    public void Index_under_the_name_of_another_one_is_damage_and_goes_by_delete()
    {
        using var indexes = _fixture.Indexes();
        indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
        _fixture.Device.Rename(SideFileFixture.IndexPath(5), SideFileFixture.IndexPath(6));
        Assert.False(indexes.TryReadDirectory(new LogIndex(6), out _, out _));
        Assert.True(indexes.IsDamaged(new LogIndex(6)));
        indexes.Delete(new LogIndex(6));
        Assert.False(indexes.IsDamaged(new LogIndex(6)));
        Assert.Empty(_fixture.Device.List(SideFileFixture.Folder));
    }

    [Fact]
    public void Index_of_another_disk_group_or_version_is_refused_and_left_alone()
    {
        using var indexes = _fixture.Indexes();
        indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
        using var otherDisk = _fixture.Indexes(storeId: Guid.NewGuid());
        using var otherGroup = _fixture.Indexes(group: new GroupId(4));
        Assert.Throws<StorageRefusedException>(() => otherDisk.TryReadDirectory(new LogIndex(5), out _, out _));
        Assert.Throws<StorageRefusedException>(() => otherGroup.TryReadBody(new LogIndex(5), 0, new byte[1]));
        _fixture.SetVersion(SideFileFixture.IndexPath(5), 77);
        var refusal = Assert.Throws<StorageRefusedException>(
            () => indexes.TryReadDirectory(new LogIndex(5), out _, out _));
        Assert.Contains("77", refusal.Message, StringComparison.Ordinal);
        Assert.False(indexes.IsDamaged(new LogIndex(5)));
    }

    [Fact]
    public void Unreadable_index_is_damaged_but_one_that_cannot_be_opened_is_not()
    {
        var device = new FaultyReads(_fixture.Device);
        using var indexes = _fixture.Indexes(device: device);
        indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
        device.FailOpens = true;
        Assert.False(indexes.TryReadBody(new LogIndex(5), 0, new byte[1]));
        device.FailOpens = false;
        Assert.True(indexes.TryReadBody(new LogIndex(5), 0, new byte[1]));
        device.FailReads = true;
        Assert.False(indexes.TryReadBody(new LogIndex(5), 0, new byte[1]));
        Assert.True(indexes.IsDamaged(new LogIndex(5)));
        Assert.Equal(0, device.OpenFiles);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void Power_cut_in_any_operation_leaves_the_old_index_or_the_new_one(SimulatedDeviceCrash mode)
    {
        var isCut = true;
        var cuts = 0;
        for (var seed = 0; isCut; seed++)
        {
            var fixture = new SideFileFixture(seed);
            using (var indexes = fixture.Indexes())
            {
                indexes.Write(new LogIndex(5), new LogIndex(70), [1], Body);
                fixture.Device.PowerCutAt = fixture.Device.OperationCount + seed + 1;
                isCut = IsCut(() => indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body));
                cuts += isCut ? 1 : 0;
                fixture.Device.Crash(mode);
            }

            using var again = fixture.Indexes();
            Assert.True(again.TryReadDirectory(new LogIndex(5), out var last, out var directory), $"cut at {seed}");
            Assert.Equal(last == new LogIndex(80) ? Directory : [1], directory.ToArray());
            Assert.True(isCut || last == new LogIndex(80));
            Assert.Equal(Body, SideFileFixture.ReadAll(again, 5, BodyBytes)?.Body);

            // What a cut leaves behind does not disturb the next write.
            again.Write(new LogIndex(5), new LogIndex(90), [7], [8]);
            Assert.Equal([8], SideFileFixture.ReadAll(again, 5, 1)?.Body);
        }

        Assert.InRange(cuts, 7, 100);
    }

    [Fact]
    public void Full_disk_in_any_operation_leaves_the_index_as_it_was()
    {
        using var indexes = _fixture.Indexes();
        indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
        SimulatedDeviceOperation[] operations =
        [
            SimulatedDeviceOperation.Create, SimulatedDeviceOperation.Allocate, SimulatedDeviceOperation.Write,
            SimulatedDeviceOperation.Sync, SimulatedDeviceOperation.Rename,
        ];
        foreach (var fault in new[] { SimulatedDeviceFault.DiskFull, SimulatedDeviceFault.IoError })
        {
            foreach (var operation in operations)
            {
                _fixture.Device.Fault = (actual, _) => actual == operation ? fault : SimulatedDeviceFault.None;
                var failure = Assert.ThrowsAny<IOException>(
                    () => indexes.Write(new LogIndex(5), new LogIndex(90), [1], [2]));
                Assert.Equal(fault == SimulatedDeviceFault.DiskFull, failure is DiskFullException);
                Assert.Equal(fault == SimulatedDeviceFault.IoError, failure is StorageException);
                _fixture.Device.Fault = null;
                Assert.Single(_fixture.Device.List(SideFileFixture.Folder));
                Assert.Equal(Body, SideFileFixture.ReadAll(indexes, 5, BodyBytes)?.Body);
            }
        }
    }

    [Fact]
    public void Few_files_stay_open_and_the_ones_used_last_are_among_them()
    {
        var device = new FaultyReads(_fixture.Device);
        var indexes = _fixture.Indexes(device: device, open: 3);
        for (var first = 1; first <= 20; first++)
        {
            indexes.Write(new LogIndex(first), new LogIndex(first), [(byte)first], Body);
        }

        Assert.Equal(0, device.OpenFiles);
        for (var first = 1; first <= 20; first++)
        {
            Assert.True(indexes.TryReadBody(new LogIndex(first), 0, new byte[1]));
            Assert.True(indexes.TryReadBody(new LogIndex(1), 0, new byte[1]));
        }

        Assert.Equal(3, device.OpenFiles);
        Assert.InRange(device.MostOpenFiles, 3, 4);
        device.FailOpens = true;
        foreach (var first in new[] { 1, 19, 20 })
        {
            Assert.True(indexes.TryReadBody(new LogIndex(first), 0, new byte[1]), $"index {first}");
        }

        Assert.False(indexes.TryReadBody(new LogIndex(18), 0, new byte[1]));
        indexes.Dispose();
        Assert.Equal(0, device.OpenFiles);
        Assert.Throws<ObjectDisposedException>(() => indexes.TryReadBody(new LogIndex(1), 0, new byte[1]));
    }

    [Fact]
    public void File_that_is_replaced_while_it_is_opened_is_not_kept()
    {
        var device = new FaultyReads(_fixture.Device);
        using var indexes = _fixture.Indexes(device: device);
        indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
        device.BeforeRead = (0, () => indexes.Write(new LogIndex(5), new LogIndex(90), [1], [2]));
        Assert.Equal(new LogIndex(90), SideFileFixture.ReadAll(indexes, 5, 1)?.Last);
        Assert.Equal(1, device.OpenFiles);

        device.BeforeRead = (0, () => indexes.Delete(new LogIndex(40)));
        indexes.Write(new LogIndex(40), new LogIndex(90), [1], [2]);
        Assert.False(indexes.TryReadDirectory(new LogIndex(40), out _, out _));
        Assert.Equal(1, device.OpenFiles);
    }

    [Fact]
    public void Damage_of_a_file_that_is_replaced_while_it_is_read_is_not_that_of_the_new_one()
    {
        const long lastPage = 4096 * 10;
        var device = new FaultyReads(_fixture.Device);
        using var indexes = _fixture.Indexes(device: device);
        var into = new byte[1];
        indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
        _fixture.Device.Flip(SideFileFixture.IndexPath(5), lastPage, 1);
        device.BeforeRead = (lastPage, () => indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body));
        Assert.True(indexes.TryReadBody(new LogIndex(5), BodyBytes - 1, into));
        Assert.Equal(Body[^1], into[0]);
        Assert.Null(device.BeforeRead);
        Assert.False(indexes.IsDamaged(new LogIndex(5)));
        Assert.Equal(1, device.OpenFiles);
    }

    [Fact]
    public void File_that_is_deleted_while_it_is_read_is_read_to_its_end_and_closed()
    {
        var device = new FaultyReads(_fixture.Device);
        using var indexes = _fixture.Indexes(device: device);
        indexes.Write(new LogIndex(5), new LogIndex(80), Directory, Body);
        device.BeforeRead = (4096, () => indexes.Delete(new LogIndex(5)));
        Assert.True(indexes.TryReadDirectory(new LogIndex(5), out _, out var directory));
        Assert.Equal(Directory, directory.ToArray());
        Assert.Equal(0, device.OpenFiles);
        Assert.False(indexes.TryReadDirectory(new LogIndex(5), out _, out _));
    }

    [Fact]
    public async Task Readers_beside_a_writer_see_one_index_whole_or_none()
    {
        var device = new FaultyReads(_fixture.Device);
        using var indexes = _fixture.Indexes(device: device, open: 2);
        for (var first = 1; first <= 6; first++)
        {
            indexes.Write(new LogIndex(first), new LogIndex(100), [0], Uniform(0));
        }

        using var isDone = new CancellationTokenSource();
        var readers = Enumerable.Range(0, 4).Select(seed => Task.Run(() => ReadUntil(indexes, seed, isDone.Token)))
            .ToList();
        for (var i = 1; i <= 300; i++)
        {
            var first = new LogIndex(1 + (i % 6));
            if (i % 5 == 0)
            {
                indexes.Delete(first);
            }

            indexes.Write(first, new LogIndex(100 + i), [(byte)i], Uniform((byte)i));
        }

        await isDone.CancelAsync();
        await Task.WhenAll(readers);
        Assert.All(Enumerable.Range(1, 6), first => Assert.False(indexes.IsDamaged(new LogIndex(first))));
        Assert.InRange(device.OpenFiles, 0, 2);
        Assert.InRange(device.MostOpenFiles, 1, 2 + (2 * 4) + 1);
    }

    private static void ReadUntil(IndexFiles indexes, int seed, CancellationToken isDone)
    {
        var random = new Random(seed);
        var into = new byte[6000];
        while (!isDone.IsCancellationRequested)
        {
            var first = new LogIndex(1 + random.Next(6));
            if (indexes.TryReadDirectory(first, out var last, out var directory))
            {
                Assert.Equal((byte)(last.Value - 100), directory.Span[0]);
            }

            if (indexes.TryReadBody(first, 0, into))
            {
                Assert.DoesNotContain(into, value => value != into[0]);
            }
        }
    }

    private static byte[] Uniform(byte value) => [.. Enumerable.Repeat(value, 6000)];

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

    private IndexFiles OnRealDisk(PhysicalDevice device) =>
        new(device, _root, LogFixture.Group, LogFixture.StoreId, NullLogger.Instance);
}
