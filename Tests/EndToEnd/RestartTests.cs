using System.Diagnostics;
using Broker.Client;
using Broker.Tests.Demo;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>What a user sees who stops the system and starts it again.</summary>
public sealed class RestartTests
{
    private const string Topic = "e2e.restart";
    private const int Messages = 200;

    [Fact]
    public async Task A_stopped_system_leaves_no_process_behind_and_finds_all_data_at_the_next_start()
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        var data = Directory.CreateTempSubdirectory("broker-restart-");
        try
        {
            var processes = await PublishAndStopAsync(data, timeout.Token);
            Assert.DoesNotContain(processes, IsRunning);

            await using var again = await RunningSystem.StartAsync(data.FullName, timeout.Token);
            var read = new List<string>();
            await foreach (var record in again.Client.ReadAsync(
                Topic, new ReadOptions { Linearizable = true }, timeout.Token))
            {
                read.Add(System.Text.Encoding.UTF8.GetString(record.Value.Span));
            }

            Assert.Equal(Enumerable.Range(0, Messages).Select(i => $"message {i}"), read);
            var next = await again.Client.PublishAsync(Topic, new() { Value = "next"u8.ToArray() }, timeout.Token);
            Assert.Equal(Messages, next.Offset);
        }
        finally
        {
            data.Delete(recursive: true);
        }
    }

    private static async Task<IReadOnlyList<int>> PublishAndStopAsync(
        DirectoryInfo data, CancellationToken cancellationToken)
    {
        await using var system = await RunningSystem.StartAsync(data.FullName, cancellationToken);
        for (var i = 0; i < Messages; i++)
        {
            var message = new BrokerMessage { Value = System.Text.Encoding.UTF8.GetBytes($"message {i}") };
            var ack = await system.Client.PublishAsync(Topic, message, cancellationToken);
            Assert.Equal(i, ack.Offset);
        }

        string[] withProcess = [.. RunningSystem.Brokers, "publisher", "subscriber", "cache", "postgres", "prometheus"];
        return [.. withProcess.Select(system.ProcessIdOf)];
    }

    private static bool IsRunning(int processId)
    {
        try
        {
            using var process = Process.GetProcessById(processId);
            return !process.HasExited;
        }
        catch (ArgumentException)
        {
            // No process has this id.
            return false;
        }
    }
}
