using System.Diagnostics;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Aspire.Hosting.Testing;
using Npgsql;
using Xunit;

namespace Broker.Tests.EndToEnd.Engine;

public sealed class ServerTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Redis_restarts_as_a_new_process_at_the_same_address()
    {
        await using var tiny = await TinyApp.StartAsync(app => app.AddRedis("cache"), Cancel);
        var first = await tiny.HealthyProcessAsync("cache", Cancel);
        var address = await tiny.App.GetConnectionStringAsync("cache", Cancel);
        Assert.Matches("^localhost:[0-9]+,password=[A-Za-z0-9]{24}$", address);
        var result = await tiny.App.ResourceCommands.ExecuteCommandAsync(
            "cache", KnownResourceCommands.RestartCommand, Cancel);
        Assert.True(result.Success, result.Message);
        Assert.NotEqual(first, await tiny.HealthyProcessAsync("cache", Cancel));
        Assert.Equal(address, await tiny.App.GetConnectionStringAsync("cache", Cancel));
        Assert.False(TinyApp.IsAlive(first));
    }

    [Fact]
    public async Task Postgres_keeps_its_data_over_a_kill_and_over_a_second_run()
    {
        var folder = TinyApp.NewFolder();
        try
        {
            await using (var first = await TinyApp.StartAsync(Describe, Cancel, folder))
            {
                await first.InStateAsync("orders", KnownResourceStates.Running, Cancel);
                await ExecuteAsync(first, "create table t (n int); insert into t values (42)");
                using (var server = Process.GetProcessById(await first.HealthyProcessAsync("postgres", Cancel)))
                {
                    server.Kill();
                }

                await first.InStateAsync("postgres", KnownResourceStates.Exited, Cancel);
                await first.App.ResourceCommands.ExecuteCommandAsync(
                    "postgres", KnownResourceCommands.StartCommand, Cancel);
                await first.HealthyProcessAsync("postgres", Cancel);
                Assert.Equal(42, await ExecuteAsync(first, "select n from t"));
                await first.App.StopAsync(Cancel);
            }

            await using var second = await TinyApp.StartAsync(Describe, Cancel, folder);
            await second.InStateAsync("orders", KnownResourceStates.Running, Cancel);
            Assert.Equal(42, await ExecuteAsync(second, "select n from t"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        static void Describe(IDistributedApplicationBuilder app) => app.AddPostgres("postgres").AddDatabase("orders");
    }

    [Fact]
    public async Task Postgres_starts_in_a_folder_that_its_own_user_cannot_reach()
    {
        var locked = Directory.CreateDirectory(TinyApp.NewFolder()).FullName;
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(locked, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }

            await using var tiny = await TinyApp.StartAsync(
                app => app.AddPostgres("postgres"), Cancel, Path.Combine(locked, "data root"));
            await tiny.HealthyProcessAsync("postgres", Cancel);
        }
        finally
        {
            Directory.Delete(locked, recursive: true);
        }
    }

    private static async Task<object?> ExecuteAsync(TinyApp tiny, string sql)
    {
        var address = await tiny.App.GetConnectionStringAsync("orders", Cancel);
        await using var source = NpgsqlDataSource.Create($"{address};Pooling=false");
        await using var command = source.CreateCommand(sql);
        return await command.ExecuteScalarAsync(Cancel);
    }
}
