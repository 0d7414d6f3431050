using System.Buffers.Binary;
using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Broker.Client;

namespace Broker.Tests.Benchmarks.Soaks;

/// <summary>What a member of a soak's group tells of one record.</summary>
internal enum MemberEvent : byte
{
    /// <summary>It was handed out. Told before it is acknowledged.</summary>
    Received = 1,

    /// <summary>Its acknowledgement was answered: it is settled.</summary>
    Settled,

    /// <summary>Its acknowledgement was answered: it was not the member's any more.</summary>
    NotOurs,

    /// <summary>Its acknowledgement was not answered.</summary>
    Unanswered,
}

/// <summary>
/// A consumer in a process of its own, so that kill -9 ends it as it would an application: it acknowledges each record
/// by itself, and tells by its output what it received and settled. What is in the pipe outlives it.
/// </summary>
internal sealed class SoakMember : IDisposable
{
    private const string Verb = "groups-member";
    private const string Cut = "cut";
    private const int FrameBytes = 1 + sizeof(long) + sizeof(long) + sizeof(int);

    private readonly Process _process;

    private SoakMember(Process process, Task reading) => (_process, Reading) = (process, reading);

    /// <summary>Ends when all that it told has been heard.</summary>
    public Task Reading { get; }

    public static Command Create()
    {
        var addresses = new Option<string>("--addresses") { Required = true, Description = "Of the brokers." };
        var group = new Option<string>("--group") { Required = true, Description = "The group." };
        var command = new Command(Verb, "A member of the group of groups-faults, which starts it.")
        {
            addresses, group,
        };
        command.Hidden = true;
        command.SetAction((parsed, cancellationToken) => RunAsync(
            [.. parsed.GetRequiredValue(addresses).Split(',').Select(static text => new Uri(text))],
            parsed.GetRequiredValue(group),
            cancellationToken));
        return command;
    }

    /// <param name="addresses">Of the brokers.</param>
    /// <param name="group">The group.</param>
    /// <param name="hear">Is given what it tells: what, the message's number, a timestamp, which delivery.</param>
    public static SoakMember Start(
        IEnumerable<Uri> addresses, string group, Action<MemberEvent, long, long, int> hear)
    {
        var program = Path.Combine(AppContext.BaseDirectory, "Broker.Tests.Benchmarks.dll");
        var process = Process.Start(
            new ProcessStartInfo(
                "dotnet", [program, Verb, "--addresses", string.Join(',', addresses), "--group", group])
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
            })!;
        return new SoakMember(process, ReadAsync(process.StandardOutput.BaseStream, hear));
    }

    /// <summary>Has it break all its connections, in the middle of what it does, and begin again.</summary>
    public async Task CutAsync()
    {
        await _process.StandardInput.WriteLineAsync(Cut);
        await _process.StandardInput.FlushAsync();
    }

    /// <summary>kill -9.</summary>
    /// <returns>False: it had ended by itself.</returns>
    public async Task<bool> KillAsync()
    {
        var hadEnded = _process.HasExited;
        if (!hadEnded)
        {
            _process.Kill();
        }

        await _process.WaitForExitAsync();
        return !hadEnded;
    }

    public void Dispose() => _process.Dispose();

    private static async Task ReadAsync(Stream output, Action<MemberEvent, long, long, int> hear)
    {
        var frame = new byte[FrameBytes];
        while (await output.ReadAtLeastAsync(frame, FrameBytes, throwOnEndOfStream: false) == FrameBytes)
        {
            hear(
                (MemberEvent)frame[0],
                BinaryPrimitives.ReadInt64LittleEndian(frame.AsSpan(1)),
                BinaryPrimitives.ReadInt64LittleEndian(frame.AsSpan(9)),
                BinaryPrimitives.ReadInt32LittleEndian(frame.AsSpan(17)));
        }
    }

    private static async Task<int> RunAsync(Uri[] addresses, string group, CancellationToken cancellationToken)
    {
        await using var output = Console.OpenStandardOutput();
        var teller = new Teller(output);
        var client = Connect(addresses);
        var cuts = 0;
        var listening = Task.Run(
            async () =>
            {
                while (await Console.In.ReadLineAsync(cancellationToken) == Cut)
                {
                    Interlocked.Increment(ref cuts);
                    await Interlocked.Exchange(ref client, Connect(addresses)).DisposeAsync();
                }
            },
            cancellationToken);
        while (!listening.IsCompleted)
        {
            var cutsBefore = Volatile.Read(ref cuts);
            try
            {
                // The consumer is not disposed: that would give back what it holds.
                var consumer = await Volatile.Read(ref client).ConsumeAsync(
                    group, new ConsumeOptions { Consumer = $"member-{Environment.ProcessId}" }, cancellationToken);
                await foreach (var record in consumer.WithCancellation(cancellationToken))
                {
                    _ = AckAsync(teller, record);
                }
            }
            catch (Exception failure) when (cutsBefore != Volatile.Read(ref cuts)
                && failure is ObjectDisposedException or BrokerClientException or OperationCanceledException)
            {
                // It was cut; by another client it goes on.
            }
        }

        await client.DisposeAsync();
        return 0;
    }

    private static BrokerClient Connect(Uri[] addresses) => new(new BrokerClientOptions { Addresses = addresses });

    private static async Task AckAsync(Teller teller, GroupRecord record)
    {
        var number = BinaryPrimitives.ReadInt64LittleEndian(record.Record.Value.Span);
        teller.Tell(MemberEvent.Received, number, record.Attempt);
        try
        {
            var isSettled = await record.AckAsync();
            teller.Tell(isSettled ? MemberEvent.Settled : MemberEvent.NotOurs, number, record.Attempt);
        }
        catch (ObjectDisposedException)
        {
            // It was cut.
            teller.Tell(MemberEvent.Unanswered, number, record.Attempt);
        }
        catch (BrokerClientException failure)
        {
            teller.Tell(MemberEvent.Unanswered, number, record.Attempt);
            await Console.Error.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture, $"message {number}, delivery {record.Attempt}: {failure.Message}"));
        }
    }

    /// <summary>Writes each event at once.</summary>
    private sealed class Teller(Stream output)
    {
        private readonly Lock _lock = new();
        private readonly byte[] _frame = new byte[FrameBytes];

        public void Tell(MemberEvent what, long number, int attempt)
        {
            lock (_lock)
            {
                _frame[0] = (byte)what;
                BinaryPrimitives.WriteInt64LittleEndian(_frame.AsSpan(1), number);
                BinaryPrimitives.WriteInt64LittleEndian(_frame.AsSpan(9), Stopwatch.GetTimestamp());
                BinaryPrimitives.WriteInt32LittleEndian(_frame.AsSpan(17), attempt);
                output.Write(_frame);
            }
        }
    }
}
